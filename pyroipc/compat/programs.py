"""A program written for Pyro into the same program on pyroipc, without a change in its text.

It runs as ``python program.py`` would run it: it is ``__main__``, its arguments are in
``sys.argv``, and its own directory comes first in ``sys.path``.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
from types import ModuleType

from pyroipc.compat.aliases import STAND_INS, install_as
from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["main"]

USAGE: Final = f"""\
usage: python -m pyroipc.compat {{{",".join(STAND_INS)}}} program.py [argument ...]
       python -m pyroipc.compat {{{",".join(STAND_INS)}}} -m module [argument ...]

Run a program that was written for Pyro on pyroipc, as it stands: what it imports from Pyro is
pyroipc's."""


def main(arguments: list[str]) -> int:
    """Run a program under an old name.

    Args:
        arguments: the old name, the program or ``-m`` and a module, and the program's arguments.

    Returns:
        The exit code: 0, or 2 if the arguments make no sense. A program that ends by itself
        raises SystemExit, as always.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    name, *program = arguments or [""]
    try:
        install_as(name)
    except (ValueError, PyroError) as error:
        return _complaint(str(error) if name else "which package is it for?")
    if not program or (program[0] == "-m" and len(program) == 1):
        return _complaint("which program is to run?")
    if program[0] == "-m":
        sys.argv[:] = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    elif os.path.isfile(program[0]):
        _run_file(program)
    elif os.path.isdir(program[0]):
        sys.argv[:] = program
        runpy.run_path(program[0], run_name="__main__")
    else:
        return _complaint(f"there is no file {program[0]!r}")
    return 0


def _complaint(text: str) -> int:
    print(f"{USAGE}\n\nerror: {text}", file=sys.stderr)
    return 2


def _run_file(program: list[str]) -> None:
    path = program[0]
    with io.open_code(os.path.abspath(path)) as source:
        code = compile(source.read(), path, "exec")
    # Not runpy.run_path: it takes its __main__ away when the last line has run, and threads of
    # the program may go on after that, pickling classes that are found there.
    main_module = ModuleType("__main__")
    main_module.__dict__.update(__file__=path, __cached__=None, __builtins__=builtins)
    sys.modules["__main__"] = main_module
    sys.argv[:] = program
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    exec(code, main_module.__dict__)  # noqa: S102 - the user's own program
