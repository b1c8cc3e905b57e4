"""Imports of ``Pyro4`` and ``Pyro5`` into imports of what stands in for them here.

A finder at the front of ``sys.meta_path`` answers for the old name and everything below it. Its
loader imports the module of the new name and hands that very object on, so ``sys.modules`` has one
module under two names, and there is never a second copy of a class. The module keeps its own
``__name__``, ``__spec__`` and loader: reloading it, pickling its classes and reading its source
go by the new name.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from threading import Lock

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any, Final

__all__ = ["STAND_INS", "install_as"]

STAND_INS: Final = {"Pyro4": "pyroipc.compat.pyro4", "Pyro5": "pyroipc.compat.pyro5"}
"""Which package stands in for which."""

_lock = Lock()


def install_as(name: str) -> None:
    """Make ``import Pyro4`` or ``import Pyro5`` mean pyroipc, in this process, from now on.

    It may be called again, and from any thread. Modules are imported when they are asked for.

    Args:
        name: ``"Pyro4"`` or ``"Pyro5"``.

    Raises:
        ValueError: another name.
        PyroError: the real package, or a part of it, has been imported already.
    """
    if name not in STAND_INS:
        raise ValueError(f"pyroipc can stand in for {' or '.join(STAND_INS)}, not for {name!r}")
    with _lock:
        if any(isinstance(finder, _Finder) and finder.old == name for finder in sys.meta_path):
            return
        _refuse_if_imported(name)
        finder: Any = _Finder(name, STAND_INS[name])
        sys.meta_path.insert(0, finder)


def _refuse_if_imported(name: str) -> None:
    """Make sure that nothing in this process uses the real package.

    Raises:
        PyroError: something does.
    """
    for found in sorted(sys.modules):
        if found == name or found.startswith(f"{name}."):
            place = getattr(sys.modules[found], "__file__", None) or "no file"
            raise PyroError(
                f"{found} has been imported already, from {place}, so part of this program would "
                f"go on with the real {name}: call install_as({name!r}) before whatever imports it"
            )


class _Finder:
    """Answers for one old name and for everything below it.

    It has what finders and loaders have, but not their base classes: importlib.abc takes longer
    to load than all the rest of a small program.
    """

    def __init__(self, old: str, new: str) -> None:
        self.old = old
        self._new = new

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return what loads a module of an old name; None leaves other modules to others.

        Raises:
            ModuleNotFoundError: nothing stands in for the module. No finder that comes later
                may answer, because a part of the real package would not know ours.
        """
        if fullname != self.old and not fullname.startswith(f"{self.old}."):
            return None
        real = self._new + fullname[len(self.old) :]
        found = find_spec(real)
        if found is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: pyroipc stands in for {self.old} here, and has "
                "no such part",
                name=fullname,
            )
        is_package = found.submodule_search_locations is not None
        loader: Any = _Loader(real)
        return ModuleSpec(fullname, loader, origin=found.origin, is_package=is_package)


class _Loader:
    """Hands on the module of a new name under an old one."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of the new name."""
        module = import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing, and give the module back what the import system has just replaced."""
        module.__spec__ = self._spec

    def is_package(self, fullname: str) -> bool:
        """Tell whether the module is a package."""
        found = find_spec(self._real)
        return found is not None and found.submodule_search_locations is not None

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, for ``runpy``."""
        code: CodeType | None = _loader_of(self._real).get_code(self._real)
        return code

    def get_source(self, fullname: str) -> str | None:
        """Return the source of the module."""
        source: str | None = _loader_of(self._real).get_source(self._real)
        return source


def _loader_of(real: str) -> Any:
    found = find_spec(real)
    return found.loader if found else None
