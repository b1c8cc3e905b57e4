"""The text that names a storage -> the open storage; its module is imported only then.

========================================  ======================================================
``memory``                                gone when the name server ends
``sqlite:/path/of/file``                  a file of this machine; a path alone means the same,
                                          and so does Pyro's word ``sql:``
``etcd:host:2379,host2:2379/prefix``      a cluster that several name servers share
========================================  ======================================================

A new storage is one file and one line here.
"""

from __future__ import annotations

from pyroipc.errors import NamingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.naming.storage.base import Storage

__all__ = ["names", "open_storage"]

#   name      module:attribute, how it is written, pip requirement
_TABLE: dict[str, tuple[str, str, str]] = {
    "memory": ("pyroipc.naming.storage.memory:MemoryStorage", "memory", ""),
    "sqlite": ("pyroipc.naming.storage.sqlite:SqliteStorage", "sqlite:/path/of/file", ""),
    "etcd": ("pyroipc.naming.storage.etcd:EtcdStorage", "etcd:host:2379,host2:2379", "etcd3gw"),
}
_ALIASES = {"sql": "sqlite"}  # Pyro's word for it
_PATHS = ("/", "./", "../", "~")


def names() -> tuple[str, ...]:
    """Return the names of all storages, whether or not their libraries are installed."""
    return tuple(_TABLE)


def open_storage(text: str, *, timeout: float = 5.0) -> Storage:
    """Open the storage that a text names; see the module. The caller closes it.

    Args:
        text: such as ``memory``, ``sqlite:/var/lib/names.db`` or ``etcd:10.0.0.1:2379``.
        timeout: how many seconds others may make an operation of the storage wait.

    Raises:
        NamingError: there is no such storage, its library is not installed, or it cannot be
            opened.
        TypeError: the text is no str.
    """
    if not isinstance(text, str):
        raise TypeError(f"a storage is named by a str, not by a {type(text).__name__}")
    if text.startswith(_PATHS):
        text = f"sqlite:{text}"
    name, _, where = text.partition(":")
    name = _ALIASES.get(name, name)
    if name not in _TABLE:
        raise NamingError(_unknown(text, name))
    return _load(name, text)(where, timeout=timeout)


def _load(name: str, text: str) -> type[Storage]:
    where, _, requirement = _TABLE[name]
    module_name, _, attribute = where.partition(":")
    try:
        kind: type[Storage] = getattr(__import__(module_name, fromlist=(attribute,)), attribute)
    except ImportError as error:
        if not requirement:
            raise
        raise NamingError(
            f"the storage {text!r:.200} cannot be used here ({error}); "
            f'install its library: pip install "{requirement}"'
        ) from error
    return kind


def _unknown(text: str, name: str) -> str:
    import difflib

    if name == "dbm":
        return (
            f"the storage {text!r:.200} is no more: dbm cannot hold metadata; "
            "use 'sqlite:/path/of/file' and register the names again"
        )
    close = difflib.get_close_matches(name.strip().lower(), [*_TABLE, *_ALIASES], n=1)
    if close:
        hint = f"did you mean {_TABLE[_ALIASES.get(close[0], close[0])][1]!r}?"
    else:
        hint = f"known are: {', '.join(written for _, written, _ in _TABLE.values())}"
    return f"unknown storage {text!r:.200}; {hint}"
