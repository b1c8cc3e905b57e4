"""Pyro4 under its own names, on pyroipc.

What ``import Pyro4`` gives, and its public submodules; each is fetched when it is first used. The
rules for them stand in :mod:`pyroipc.compat`. What is different from Pyro4, and why, stands in
``docs/howto/run-pyro4-programs.md``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.compat.pyro4.configuration import config
    from pyroipc.compat.pyro4.constants import VERSION as __version__  # noqa: N811
    from pyroipc.compat.pyro4.core import (
        URI,
        Daemon,
        Proxy,
        asyncproxy,
        batch,
        behavior,
        callback,
        current_context,
        expose,
        locateNS,
        oneway,
        resolve,
    )
    from pyroipc.compat.pyro4.futures import Future

__all__ = [
    "URI",
    "Daemon",
    "Future",
    "Proxy",
    "__version__",
    "asyncproxy",
    "batch",
    "behavior",
    "callback",
    "config",
    "current_context",
    "expose",
    "locateNS",
    "oneway",
    "resolve",
]

_HERE = "pyroipc.compat.pyro4"
_ELSEWHERE = {
    "Future": ("futures", "Future"),
    "__version__": ("constants", "VERSION"),
    "config": ("configuration", "config"),
}
_MODULES = frozenset({
    "configuration", "constants", "core", "errors", "futures", "message", "naming",
    "naming_storage", "nsc", "socketutil", "test", "util", "utils",
})  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            __import__(f"{_HERE}.{name}")
            return globals()[name]
        if name not in __all__:
            raise AttributeError(f"module 'Pyro4' has no attribute {name!r}")
        module_name, attribute = _ELSEWHERE.get(name, ("core", name))
        module = __import__(f"{_HERE}.{module_name}", fromlist=(attribute,))
        value = globals()[name] = getattr(module, attribute)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
