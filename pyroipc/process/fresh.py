"""A child that is a fresh interpreter: knows nothing of the parent, and inherits nothing.

It has the parent's interpreter options, search path, arguments and environment, and never imports
the parent's main module; a class of that module travels by value. So no ``if __name__ ==
"__main__"`` is needed, and it works from ``python -c`` and from a prompt as well.
"""

from __future__ import annotations

import os
import signal
import sys

from pyroipc.errors import StartupError
from pyroipc.process.birth import Birth
from pyroipc.process.watching import Child
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket

    from pyroipc.process.birth import Order
    from pyroipc.settings import Settings

_FIRST_NUMBER = 3


def start_fresh(settings: Settings) -> tuple[Child, Order]:
    """Start an interpreter that waits to be told what to host.

    Returns:
        The child, and the order to make the object.

    Raises:
        OSError: no more processes or descriptors are to be had.
        StartupError: it is not known which program the interpreter is.
    """
    with descriptors.lock, Birth(settings) as birth:
        birth.session.greet_ahead()
        rest = f"{settings.changed(secrets=False)!a}, {os.getpid()}"
        pid = start_interpreter("bootstrap", birth.theirs(), rest)
        return Child(pid, birth.our_life), birth.order


def start_interpreter(module: str, inherited: list[socket.socket], rest: str = "") -> int:
    """Start an interpreter that calls ``start`` of a module of this package.

    Args:
        module: the module, relative to this package.
        inherited: what it inherits beside the standard streams; their numbers are the first
            arguments of ``start``.
        rest: its other arguments, as source code.

    Returns:
        The process id.

    Raises:
        OSError: the program cannot be started.
        StartupError: it is not known which program the interpreter is.
    """
    if not sys.executable:
        raise StartupError(
            "sys.executable is not set, so a fresh interpreter cannot be started; use start='fork'"
        )
    numbers = [sock.fileno() for sock in inherited]
    free = (n for n in range(_FIRST_NUMBER, 1 << 16) if n not in numbers)
    targets = [next(free) for _ in numbers]
    arguments = ", ".join([*map(str, targets), rest])
    code = (
        f"import sys; sys.path[:] = {_texts(sys.path)!a}; sys.argv[:] = {_texts(sys.argv)!a}; "
        f"from {__package__}.{module} import start; start({arguments})"
    )
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *_options(), "-c", code],
        os.environ,
        # A duplicate of another number survives the exec, the original does not.
        file_actions=[
            (os.POSIX_SPAWN_DUP2, number, target)
            for number, target in zip(numbers, targets, strict=True)
        ],
        # Ctrl-C must not hit it before it ignores that.
        setsigmask=[signal.SIGINT],
        setsigdef=[signal.SIGTERM],
    )


def _options() -> list[str]:
    """Return the command line options of this interpreter (-X, -W, -O and so on)."""
    import subprocess

    # As multiprocessing does. It knows which flags each version of Python has.
    find = subprocess._args_from_interpreter_flags  # type: ignore[attr-defined]  # noqa: SLF001
    options: list[str] = find()
    return options


def _texts(values: list[str]) -> list[str]:
    return [value for value in values if isinstance(value, str)]
