"""Tracebacks as text: what a server sends beside an exception, and what a caller prints.

The module traceback takes 8 ms to load, so it is imported when the first exception is described.
Nothing here keeps a frame, a traceback or an exception alive.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = [
    "RemoteTraceback",
    "excepthook",
    "format_traceback",
    "get_pyro_traceback",
    "lines_to_send",
    "text_of",
]

_OWN_PACKAGE = "pyroipc."
_RULE = "-" * 52 + "\n"
_MAX_VALUE_CHARACTERS = 1000
_MAX_CHAIN = 10
_MAX_FRAMES = 200
# What a user's __str__ or __repr__ may raise. A KeyboardInterrupt is somebody's Ctrl-C.
_FAILURES = (Exception, SystemExit, GeneratorExit)
# A class may have an attribute of that name; the slot of BaseException is what Python uses.
_traceback_slot = BaseException.__dict__["__traceback__"]


class RemoteTraceback(Exception):  # noqa: N818 - it is not an error, it tells where one came from
    """The cause of an exception that was raised by a peer: the traceback that it had there."""

    remote_cause: BaseException | None = None
    """What was the cause of the exception where it was raised."""
    remote_context: BaseException | None = None
    """What was being handled when the exception was raised."""

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        return "".join(f"\n  | {line}" for line in text.removesuffix("\n").split("\n"))


def text_of(value: object, *, as_repr: bool = False) -> str:
    """Return ``str(value)`` or ``repr(value)``, or a substitute if that fails; never raises."""
    try:
        text = repr(value) if as_repr else str(value)
        # An object may return a subclass of str with ideas of its own, or lone surrogates.
        return str.encode(text, "utf-8", "backslashreplace").decode()
    except _FAILURES:
        return f"<{type(value).__qualname__} object, it cannot be shown as text>"


def lines_to_send(exception: BaseException, *, detailed: bool = False) -> list[str]:
    """Return the traceback of an exception that a remote method raised; never raises.

    The frames of this package above the user's method are left out, unless there are no others.

    Args:
        exception: what was raised, with its traceback, causes, notes and members.
        detailed: add the values of local variables. They may contain secrets.
    """
    start: TracebackType | None = _traceback_slot.__get__(exception)
    below = start
    while below is not None and _is_ours(below.tb_frame):
        below = below.tb_next
    try:
        lines = format_traceback(type(exception), exception, below or start, detailed=detailed)
    except _FAILURES:  # a class whose own attributes are in the way
        from traceback import format_tb

        lines = ["Traceback (most recent call last):\n", *format_tb(below or start)]
        lines.append(f"{type(exception).__qualname__}: {text_of(exception)}\n")
    finally:
        del start, below
    return [text_of(line) for line in lines]


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_OWN_PACKAGE)


def get_pyro_traceback(
    ex_type: type[BaseException] | None = None,
    ex_value: BaseException | None = None,
    ex_tb: TracebackType | None = None,
) -> list[str]:
    """Return the traceback of an exception as lines, the remote part after the local one.

    Args:
        ex_type: the class of the exception. Without arguments, the exception that is being
            handled is meant.
        ex_value: the exception.
        ex_tb: its traceback.

    Raises:
        TypeError: *ex_type* alone is given, and it is not a class.
    """
    ex_type, ex_value, ex_tb = _chosen(ex_type, ex_value, ex_tb)
    remote = getattr(ex_value, "_pyroTraceback", None)
    if not isinstance(remote, list | tuple):
        return format_traceback(ex_type, ex_value, ex_tb)
    lines = _plain_lines(ex_type, ex_value, ex_tb, without_remote=True)
    lines.append(" +--- This exception occurred remotely (Pyro) - Remote traceback:")
    for entry in remote:
        lines += [f"\n | {line}" for line in str(entry).removesuffix("\n").split("\n")]
    lines.append("\n +--- End of remote traceback\n")
    return lines


def format_traceback(
    ex_type: type[BaseException] | None = None,
    ex_value: BaseException | None = None,
    ex_tb: TracebackType | None = None,
    detailed: bool = False,  # noqa: FBT001, FBT002 - Pyro's signature
) -> list[str]:
    """Return the traceback of an exception as lines, each with its newline.

    Args:
        ex_type: the class of the exception. Without arguments, the exception that is being
            handled is meant.
        ex_value: the exception.
        ex_tb: its traceback.
        detailed: show the values of the local variables of all frames but the first.

    Raises:
        TypeError: *ex_type* alone is given, and it is not a class.
    """
    ex_type, ex_value, ex_tb = _chosen(ex_type, ex_value, ex_tb)
    if not detailed or ex_value is None:
        return _plain_lines(ex_type, ex_value, ex_tb)
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = ex_value
    tb = ex_tb
    while current is not None and id(current) not in seen and len(seen) < _MAX_CHAIN:
        if seen:
            lines.append(" This was raised because of, or while handling:\n")
        seen.add(id(current))
        lines += _detailed_lines(current, tb)
        handled = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or handled
        tb = current.__traceback__ if current is not None else None
    return lines


def excepthook(
    ex_type: type[BaseException], ex_value: BaseException, ex_tb: TracebackType | None
) -> None:
    """Print an exception to stderr with its remote traceback; for ``sys.excepthook``."""
    print("".join(get_pyro_traceback(ex_type, ex_value, ex_tb)), end="", file=sys.stderr)  # noqa: T201


def _chosen(
    ex_type: type[BaseException] | None,
    ex_value: BaseException | None,
    ex_tb: TracebackType | None,
) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
    if ex_type is not None and not issubclass(type(ex_type), type):
        raise TypeError(
            "the first argument is the class of an exception; give class, exception and "
            "traceback, or nothing at all"
        )
    if ex_type is None and ex_value is None and ex_tb is None:
        return sys.exc_info()
    if ex_type is None and ex_value is not None:
        ex_type = type(ex_value)
    return ex_type, ex_value, ex_tb


def _plain_lines(
    ex_type: type[BaseException] | None,
    ex_value: BaseException | None,
    ex_tb: TracebackType | None,
    *,
    without_remote: bool = False,
) -> list[str]:
    import traceback

    if ex_type is None:
        return ["No exception.\n"]
    if ex_value is None:
        return [f"{ex_type.__qualname__}\n"]
    told = traceback.TracebackException(ex_type, ex_value, ex_tb, compact=True)
    if without_remote and isinstance(ex_value.__cause__, RemoteTraceback):
        told.__cause__ = None
    return list(told.format())


def _detailed_lines(exception: BaseException, tb: TracebackType | None) -> list[str]:
    import linecache

    headline = f" EXCEPTION {type(exception)}: {text_of(exception)}\n"
    if tb is None:
        return [_RULE, headline, _RULE]
    lines = [_RULE, headline]
    lines.append(" Extended traceback follows (most recent call last)\n")
    first = True
    frames = 0
    while tb is not None:
        frames += 1
        if frames > _MAX_FRAMES:
            lines.append(" ... and more frames\n")
            break
        code = tb.tb_frame.f_code
        line = linecache.getline(code.co_filename, tb.tb_lineno).strip()
        lines.append(_RULE)
        lines.append(f'File "{code.co_filename}", line {tb.tb_lineno}, in {code.co_qualname}\n')
        lines.append(f"Source code:\n    {line}\n")
        if not first:
            lines += _local_values(tb.tb_frame)
        first = False
        tb = tb.tb_next
    return [*lines, _RULE, headline, _RULE]


def _local_values(frame: FrameType) -> list[str]:
    values = dict(frame.f_locals)
    members = getattr(values.get("self"), "__dict__", None)
    if isinstance(members, dict):
        del values["self"]
        values.update({f"self.{name}": value for name, value in members.items()})
    lines = ["Local values:\n"]
    for name in sorted(values, key=str):
        text = text_of(values[name], as_repr=True)
        if len(text) > _MAX_VALUE_CHARACTERS:
            text = text[:_MAX_VALUE_CHARACTERS] + "..."
        lines.append(f"    {name} = {text}\n")
    return lines
