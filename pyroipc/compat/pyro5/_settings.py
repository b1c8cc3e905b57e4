"""``config``: the items of Pyro5 as a view on the settings of pyroipc."""

from __future__ import annotations

from pyroipc.compat.views import ConfigView, Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Final

    from pyroipc.compat.views import Idle

__all__ = ["PROTOCOL_VERSION", "VERSION", "Configuration", "config"]

VERSION: Final = "5.17"
"""The version of Pyro5 whose names these are."""
PROTOCOL_VERSION: Final = 502

_GIB: Final = 1024**3
_SAME: Final = (
    "HOST", "NS_HOST", "NS_PORT", "NS_BCPORT", "NS_BCHOST", "NS_AUTOCLEAN", "NS_LOOKUP_DELAY",
    "NATHOST", "NATPORT", "COMPRESSION", "SERVERTYPE", "POLLTIMEOUT", "MAX_RETRIES", "SOCK_REUSE",
    "SOCK_NODELAY", "DETAILED_TRACEBACK", "THREADPOOL_SIZE", "THREADPOOL_SIZE_MIN",
    "BROADCAST_ADDRS", "PREFER_IP_VERSION", "SERIALIZER", "SERPENT_BYTES_REPR", "ITER_STREAMING",
    "ITER_STREAM_LIFETIME", "ITER_STREAM_LINGER", "LOGWIRE", "SSL", "SSL_SERVERCERT",
    "SSL_SERVERKEY", "SSL_SERVERKEYPASSWD", "SSL_REQUIRECLIENTCERT", "SSL_CLIENTCERT",
    "SSL_CLIENTKEY", "SSL_CLIENTKEYPASSWD", "SSL_CACERTS",
)  # fmt: skip


def _or_zero(value: Any) -> Any:
    return 0.0 if value is None else value


class Configuration(ConfigView):
    """The items of Pyro5.

    ``Pyro5.config`` is a view on ``pyroipc.config``; another instance has values of its own.
    """

    __slots__ = ()

    _dialect = "pyro5"
    ITEMS: ClassVar[Mapping[str, Item | Idle]] = {
        **{name: Item(name) for name in _SAME},
        "COMMTIMEOUT": Item("COMMTIMEOUT", stored=_or_zero),
        "LOGFILE": Item("LOGFILE", shown=lambda name: name or "{stderr}"),
        "LOGLEVEL": Item(
            "LOGLEVEL", shown=lambda level: level or None, stored=lambda level: level or ""
        ),
        "MAX_MESSAGE_SIZE": Item("MAX_MESSAGE_SIZE", default=_GIB),
    }

    def reset(self, use_environment: bool = True) -> None:
        """Set every item to its default, or to what the environment says."""
        self._reset(use_environment)

    def copy(self) -> Configuration:
        """Return a new instance with the same values, and no connection to this one."""
        return self._copy()

    def as_dict(self) -> dict[str, Any]:
        """Return the items as a new dict; secrets are in it."""
        return self._as_dict()

    def dump(self) -> str:
        """Return the items as text, as ``pyro5-check-config`` prints them; without secrets."""
        import os
        import platform

        what = "global configuration" if self is config else "configuration"
        hidden = self._settings.shown()
        shown = {
            name: hidden[name] if hidden.get(name) == "***" else value
            for name, value in self.as_dict().items()
        }
        return "\n".join((
            f"Pyro version: {VERSION}",
            f"Loaded from: {os.path.dirname(os.path.abspath(__file__))}",
            f"Python version: {platform.python_implementation()} {platform.python_version()} "
            f"({platform.system()}, {os.name})",
            f"Protocol version: {PROTOCOL_VERSION}",
            f"Currently active {what} settings:",
            *(f"{name} = {shown[name]}" for name in sorted(shown)),
        ))


config: Final = Configuration.on_config()
