"""Names in a pickle of Pyro4 -> what they stand for here; nothing of Pyro4 is imported.

=====================================  =====================================================
``Pyro4.errors.*``                     our errors of the same names
``Pyro4.futures._ExceptionWrapper``    ``ExceptionWrapper``
``Pyro4.core.URI``, ``Proxy``,         an ``Unfinished``: what it is to become is known when
``Daemon``                             its state has been read
``importlib.import_module``            finds what our own pickles name, see ``pickle_pyro``
=====================================  =====================================================
"""

from __future__ import annotations

import importlib
from base64 import b64encode
from types import SimpleNamespace

from pyroipc import errors
from pyroipc.errors import SerializeError
from pyroipc.serializers.classes import dict_to_class
from pyroipc.serializers.exceptions import PYRO_NAMES
from pyroipc.serializers.wrapped import ExceptionWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.serializers.base import Buffer

__all__ = ["Unfinished", "find_for_pyro", "needs_finishing"]

_CORE = "Pyro4.core"


class Unfinished:
    """An object of Pyro4 of which only the class has been read yet."""

    class_name = ""

    def __repr__(self) -> str:
        return f"<unfinished {self.class_name}>"

    def finished(self, state: Any) -> object:
        """Return what stands for it here.

        Raises:
            SerializeError: the state does not fit, or nothing here stands for such an object.
            SecurityError: it may not be rebuilt.
        """
        return dict_to_class({"__class__": self.class_name, "state": self._plain(state)})

    def _plain(self, state: Any) -> Any:
        """Return the state as the formats write it that know plain data only."""
        return state


class _UnfinishedURI(Unfinished):
    class_name = f"{_CORE}.URI"


class _UnfinishedDaemon(Unfinished):
    class_name = f"{_CORE}.Daemon"

    def _plain(self, state: Any) -> Any:
        return ()


class _UnfinishedProxy(Unfinished):
    class_name = f"{_CORE}.Proxy"

    def _plain(self, state: Any) -> Any:
        if not isinstance(state, tuple) or len(state) < 8:
            raise SerializeError(f"this is not the state of a {self.class_name}")
        uri, oneway, methods, attributes, timeout, key, *rest = state
        if isinstance(key, bytes):
            key = "b64:" + b64encode(key).decode("ascii")
        return (str(uri), *map(tuple, (oneway, methods, attributes)), timeout, key, *rest)


def needs_finishing(data: Buffer) -> bool:
    """Tell whether a pickle may name classes that are not found as they are."""
    searchable = bytes(data) if isinstance(data, memoryview) else data
    return _CORE.encode() in searchable


def find_for_pyro(module: str, name: str) -> Any:
    """Return what a name in a pickle stands for; None: what Python finds under it."""
    if module.startswith("Pyro4.") or module == "importlib":
        return _FOUND.get((module, name))
    return None


def _import_module(name: str) -> Any:
    found = _MODULES.get(name)
    return importlib.import_module(name) if found is None else found


_MODULES = {
    "Pyro4.errors": SimpleNamespace(**{name: getattr(errors, name) for name in PYRO_NAMES}),
    "Pyro4.futures": SimpleNamespace(_ExceptionWrapper=ExceptionWrapper),
    "Pyro4.util": SimpleNamespace(SerializerBase=SimpleNamespace(dict_to_class=dict_to_class)),
}
_FOUND: dict[tuple[str, str], Any] = {
    **{("Pyro4.errors", name): getattr(errors, name) for name in PYRO_NAMES},
    ("Pyro4.futures", "_ExceptionWrapper"): ExceptionWrapper,
    ("Pyro4.core", "URI"): _UnfinishedURI,
    ("Pyro4.core", "Proxy"): _UnfinishedProxy,
    ("Pyro4.core", "Daemon"): _UnfinishedDaemon,
    ("importlib", "import_module"): _import_module,
}
