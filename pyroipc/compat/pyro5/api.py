"""``Pyro5.api``: the names that programs use, each fetched when it is first used."""

from __future__ import annotations

from pyroipc.compat.pyro5 import __version__, config  # noqa: F401 - the version, too

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.compat.pyro5.callcontext import current_context
    from pyroipc.compat.pyro5.client import BatchProxy, Proxy, SerializedBlob
    from pyroipc.compat.pyro5.core import URI, locate_ns, resolve, type_meta
    from pyroipc.compat.pyro5.nameserver import start_ns, start_ns_loop
    from pyroipc.compat.pyro5.serializers import (
        SerializerBase,
        register_class_to_dict,
        register_dict_to_class,
        unregister_class_to_dict,
        unregister_dict_to_class,
    )
    from pyroipc.compat.pyro5.server import (
        Daemon,
        DaemonObject,
        behavior,
        callback,
        expose,
        oneway,
        serve,
    )

__all__ = [
    "URI",
    "BatchProxy",
    "Daemon",
    "DaemonObject",
    "Proxy",
    "SerializedBlob",
    "SerializerBase",
    "behavior",
    "callback",
    "config",
    "current_context",
    "expose",
    "locate_ns",
    "oneway",
    "register_class_to_dict",
    "register_dict_to_class",
    "resolve",
    "serve",
    "start_ns",
    "start_ns_loop",
    "type_meta",
    "unregister_class_to_dict",
    "unregister_dict_to_class",
]

_FROM = {
    "callcontext": ("current_context",),
    "client": ("BatchProxy", "Proxy", "SerializedBlob"),
    "core": ("URI", "locate_ns", "resolve", "type_meta"),
    "nameserver": ("start_ns", "start_ns_loop"),
    "serializers": (
        "SerializerBase", "register_class_to_dict", "register_dict_to_class",
        "unregister_class_to_dict", "unregister_dict_to_class",
    ),
    "server": (
        "Daemon", "DaemonObject", "behavior", "callback", "expose", "oneway", "serve",
    ),
}  # fmt: skip
_WHERE = {name: module for module, names in _FROM.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        module_name = _WHERE.get(name)
        if module_name is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(f"pyroipc.compat.pyro5.{module_name}")
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
