"""The log: what ``PYRO_LOGLEVEL`` and ``PYRO_LOGFILE`` ask for, and the loggers of the rooms.

A library does not set up logging; its application does. So nothing is done unless one of the two
variables is set, and :mod:`logging`, which costs a fresh process 5 ms, is not even imported.
Warnings then go where Python sends them: to the application's handlers, or to standard error if it
has none.

If a variable is set, and the application has no handlers yet, this sets up the root logger, so
that the application can use the log, too. If the application has its own, only the level of the
logger ``pyroipc`` is set. A wrong variable is reported and never breaks the import.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Final

__all__ = ["configure_from_environment", "get"]

STDERR: Final = "{stderr}"
"""The name that stands for standard error, instead of that of a file."""

_USUAL_LEVEL: Final = "INFO"  # whoever names a file wants to find something in it
_FORMAT: Final = "[%(asctime)s.%(msecs)03d,%(name)s,%(levelname)s] %(message)s"
_TIMES: Final = "%Y-%m-%d %H:%M:%S"

_done = False


def get(name: str) -> logging.Logger:
    """Return the logger of a room, such as ``pyroipc.server`` for ``"server"``."""
    import logging

    return logging.getLogger(f"pyroipc.{name}")


def configure_from_environment() -> None:
    """Set up the log if the environment asks for it; see the module. Once is enough."""
    global _done
    file = os.environ.get("PYRO_LOGFILE", "").strip()
    level = os.environ.get("PYRO_LOGLEVEL", "").strip()
    if (file or level) and not _done:
        _done = True
        _configure(file, level)


def _configure(file: str, level_text: str) -> None:
    import logging

    logger = logging.getLogger("pyroipc")
    level = _level(level_text or _USUAL_LEVEL)
    if level is None:
        # With no handler yet, this goes to standard error. It must not go to the file, which the
        # interpreter of a child closes with all else that it has open when it begins.
        logger.warning(
            "PYRO_LOGLEVEL=%s is no level of logging, such as DEBUG, INFO or 10; %s is taken",
            level_text,
            _USUAL_LEVEL,
        )
        level = logging.getLevelNamesMapping()[_USUAL_LEVEL]
        level_text = _USUAL_LEVEL
    root = logging.getLogger()
    if not root.handlers:
        handler = _handler(file)
        handler.setFormatter(logging.Formatter(_FORMAT, _TIMES))
        root.addHandler(handler)
        root.setLevel(level)
        logger.setLevel(level)
    elif level_text:
        logger.setLevel(level)


def _level(text: str) -> int | None:
    """Return the number of a level, given by its name or number, or None."""
    import logging

    if text.isascii() and text.isdigit():
        return int(text)
    return logging.getLevelNamesMapping().get(text.upper())


def _handler(file: str) -> logging.Handler:
    """Return what writes into the file, or to standard error if there is none or it cannot."""
    import logging

    if file in {"", STDERR}:
        return logging.StreamHandler()
    try:
        with open(file, "ab"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        logging.getLogger("pyroipc").warning(
            "PYRO_LOGFILE=%s cannot be written (%s); the log goes to standard error", file, error
        )
        return logging.StreamHandler()
    # It is opened with the first message. An interpreter that becomes a child imports pyroipc and
    # then closes what it has open; the number of a file opened now would soon be a socket's.
    return logging.FileHandler(file, encoding="utf-8", errors="backslashreplace", delay=True)
