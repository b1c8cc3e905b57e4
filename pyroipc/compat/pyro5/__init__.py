"""Pyro5 under its own names, on pyroipc: what ``import Pyro5`` gives after ``install_as``.

``import Pyro5`` alone gives ``config`` and ``__version__``, as in Pyro5; programs use
``Pyro5.api``. The other modules are imported when they are first used.
"""

from __future__ import annotations

from pyroipc.compat.pyro5._settings import VERSION as __version__  # noqa: N811
from pyroipc.compat.pyro5._settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["__version__", "config"]

# "import Pyro5.api" brings these along in Pyro5, so programs use them without another import.
_MODULES = frozenset({
    "api", "callcontext", "client", "configure", "core", "errors", "nameserver", "protocol",
    "serializers", "server", "socketutil",
})  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
