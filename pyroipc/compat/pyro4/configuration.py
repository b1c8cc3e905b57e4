"""``Pyro4.config``: the settings of pyroipc, under the names and with the values of Pyro4's items.

There is one object of settings. ``Pyro4.config`` is a view on ``pyroipc.config``: what is set in
the one is set in the other. Three kinds of items have no setting there:

* Those that say how an old program is to be treated (``REQUIRE_EXPOSE``, ``AUTOPROXY``,
  ``METADATA``, ``ONEWAY_THREADED``, ``FLAME_ENABLED``) are kept here, and have their effect here.
* ``JSON_MODULE``, ``PICKLE_PROTOCOL_VERSION`` and ``DILL_PROTOCOL_VERSION`` have no effect.
* ``SERIALIZERS_ACCEPTED`` is a set. As long as nobody has set it, a daemon takes whatever the
  trust in its peer allows; what it shows then is what anybody may use.
"""

from __future__ import annotations

import os
import platform

from pyroipc.compat.pyro4 import constants
from pyroipc.compat.views import ConfigView, Idle, Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, ClassVar, Final

__all__ = ["Configuration", "config", "main"]

_ACCEPTED: Final = frozenset({"serpent", "json", "msgpack"})
"""What every daemon accepts that was told nothing; in Pyro4 marshal is there, and msgpack not."""
_UNLIMITED: Final = 2**31 - 1
"""As large as a message can be in Pyro4's protocol, which 0 stands for."""
_TRUE: Final = frozenset({"1", "on", "yes", "true"})
_FALSE: Final = frozenset({"0", "off", "no", "false"})


class Own(Idle):
    """A switch that has its effect in this package."""

    def __init__(self, default: bool) -> None:
        super().__init__(default, "")


class AcceptedSerializers(set[str]):
    """The value of SERIALIZERS_ACCEPTED: a set, and what is changed in it is set.

    Args:
        names: what is in it.
        store: called with the set when it has changed.
    """

    def __init__(self, names: Iterable[str], store: Callable[[set[str]], None]) -> None:
        super().__init__(names)
        self._store = store

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, sorted(self)))}}}" if self else "set()"

    def remove(self, name: str) -> None:
        """Take a name out; one that is not in it is one that Pyro4 has there by default."""
        self.discard(name)

    def __reduce__(self) -> tuple[object, ...]:
        return set, (list(self),)


def _storing(name: str) -> Any:
    change = getattr(set, name)

    def changed(self: AcceptedSerializers, *args: Any) -> Any:
        result = change(self, *args)
        self._store(self)
        return result

    changed.__name__ = name
    return changed


for _name in (
    "add", "clear", "discard", "pop", "update", "difference_update",
    "intersection_update", "symmetric_difference_update",
    "__iand__", "__ior__", "__isub__", "__ixor__",
):  # fmt: skip
    setattr(AcceptedSerializers, _name, _storing(_name))


def _parsed(addresses: str) -> list[str]:
    parts = [part.strip() for part in addresses.split(",")]
    return ["" if part == "''" else part for part in parts]


def _addresses(value: Any) -> list[str]:
    return _parsed(value) if isinstance(value, str) else value


def _accepted(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _number(name: str) -> Item:
    return Item(name, stored=lambda value: value or 0)


def _switch(name: str) -> Item:
    return Item(name, stored=bool)


def _text(name: str) -> Item:
    return Item(name, stored=lambda value: value or "")


_ITEMS: Mapping[str, Item | Idle] = {
    "AUTOPROXY": Own(True),
    "BROADCAST_ADDRS": Item("BROADCAST_ADDRS", shown=", ".join, stored=_addresses),
    "COMMTIMEOUT": _number("COMMTIMEOUT"),
    "COMPRESSION": _switch("COMPRESSION"),
    "DETAILED_TRACEBACK": _switch("DETAILED_TRACEBACK"),
    "DILL_PROTOCOL_VERSION": Idle(5, "it is always 5, which every supported Python reads"),
    "FLAME_ENABLED": Own(False),
    "HOST": Item("HOST"),
    "ITER_STREAMING": _switch("ITER_STREAMING"),
    "ITER_STREAM_LIFETIME": _number("ITER_STREAM_LIFETIME"),
    "ITER_STREAM_LINGER": _number("ITER_STREAM_LINGER"),
    "JSON_MODULE": Idle("json", "it is always Python's own"),
    "LOGWIRE": _switch("LOGWIRE"),
    "MAX_MESSAGE_SIZE": Item(
        "MAX_MESSAGE_SIZE",
        shown=lambda value: 0 if value >= _UNLIMITED else value,
        stored=lambda value: value or _UNLIMITED,
        default=1 << 30,
    ),
    "MAX_RETRIES": _number("MAX_RETRIES"),
    "METADATA": Own(True),
    "NATHOST": Item("NATHOST"),
    "NATPORT": _number("NATPORT"),
    "NS_AUTOCLEAN": _number("NS_AUTOCLEAN"),
    "NS_BCHOST": Item("NS_BCHOST"),
    "NS_BCPORT": Item("NS_BCPORT"),
    "NS_HOST": Item("NS_HOST"),
    "NS_PORT": Item("NS_PORT"),
    "ONEWAY_THREADED": Own(True),
    "PICKLE_PROTOCOL_VERSION": Idle(5, "it is always 5, which every supported Python reads"),
    "POLLTIMEOUT": Item("POLLTIMEOUT"),
    "PREFER_IP_VERSION": Item("PREFER_IP_VERSION"),
    "REQUIRE_EXPOSE": Own(True),
    "SERIALIZER": Item("SERIALIZER"),
    "SERIALIZERS_ACCEPTED": Item("SERIALIZERS_ACCEPTED", stored=_accepted),
    "SERVERTYPE": Item("SERVERTYPE"),
    "SOCK_NODELAY": _switch("SOCK_NODELAY"),
    "SOCK_REUSE": _switch("SOCK_REUSE"),
    "SSL": _switch("SSL"),
    "SSL_CACERTS": _text("SSL_CACERTS"),
    "SSL_CLIENTCERT": _text("SSL_CLIENTCERT"),
    "SSL_CLIENTKEY": _text("SSL_CLIENTKEY"),
    "SSL_CLIENTKEYPASSWD": _text("SSL_CLIENTKEYPASSWD"),
    "SSL_REQUIRECLIENTCERT": _switch("SSL_REQUIRECLIENTCERT"),
    "SSL_SERVERCERT": _text("SSL_SERVERCERT"),
    "SSL_SERVERKEY": _text("SSL_SERVERKEY"),
    "SSL_SERVERKEYPASSWD": _text("SSL_SERVERKEYPASSWD"),
    "THREADPOOL_SIZE": Item("THREADPOOL_SIZE"),
    "THREADPOOL_SIZE_MIN": Item("THREADPOOL_SIZE_MIN"),
    "USE_MSG_WAITALL": _switch("USE_MSG_WAITALL"),
}


class Configuration(ConfigView):
    """A view on the settings under Pyro4's names; there is no item but these.

    Made without an argument, as Pyro4's is, it has settings of its own, from the environment.
    """

    __slots__ = ()

    _dialect = "pyro4"
    ITEMS: ClassVar[Mapping[str, Item | Idle]] = _ITEMS

    def _take_defaults(self) -> None:
        super()._take_defaults()
        self._read_environment()

    def _read_environment(self) -> None:
        for name, item in self.ITEMS.items():
            text = os.environ.get(f"PYRO_{name}")
            if isinstance(item, Own) and text is not None:
                self._idle[name] = _boolean(name, text)

    def reset(self, useenvironment: bool = True) -> None:
        """Set every item to its default, or to the value that the environment gives.

        Args:
            useenvironment: False leaves the environment unread, for when it is not trusted.

        Raises:
            PyroError: a variable has a value that its item cannot take.
            ValueError: so does this say.
        """
        self._reset(useenvironment)
        if not useenvironment:
            self._idle.clear()

    def asDict(self) -> dict[str, Any]:
        """Return the items as a new dict, name to value; secrets are in it."""
        return self._as_dict()

    def parseAddressesString(self, addresses: str) -> list[str]:
        """Split a text at its commas; two single quotes stand for the empty text."""
        return _parsed(addresses)

    def dump(self) -> str:
        """Return a description of the program and its settings; keys and passwords are hidden."""
        hidden = {name for name, value in self._settings.shown().items() if value == "***"}
        items: dict[str, Any] = {
            **self.asDict(),
            "LOGFILE": self._settings.LOGFILE or None,
            "LOGLEVEL": self._settings.LOGLEVEL or None,
        }
        lines = [
            f"Pyro version: {constants.VERSION}",
            f"Loaded from: {os.path.dirname(__file__)}",
            f"Python version: {platform.python_implementation()} {platform.python_version()} "
            f"({platform.system()}, {os.name})",
            f"Protocol version: {constants.PROTOCOL_VERSION}",
            "Currently active configuration settings:",
        ]
        items.update(dict.fromkeys(hidden & set(items), "***"))
        return "\n".join([*lines, *(f"{name} = {items[name]}" for name in sorted(items))])

    def accepted(self) -> tuple[str, ...] | None:
        """Return what SERIALIZERS_ACCEPTED was set to; None if nobody has set it."""
        names = self._settings.SERIALIZERS_ACCEPTED
        if names or self._settings.source("SERIALIZERS_ACCEPTED") == "assigned":
            return tuple(names)
        return None

    def __getattr__(self, name: str) -> Any:
        if name != "SERIALIZERS_ACCEPTED":
            return super().__getattr__(name)
        accepted = self.accepted()

        def store(names: set[str]) -> None:
            self.SERIALIZERS_ACCEPTED = set(names)

        return AcceptedSerializers(_ACCEPTED if accepted is None else accepted, store)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(self.ITEMS.get(name), Own):
            self._idle[name] = bool(value)
        else:
            super().__setattr__(name, value)


def _boolean(name: str, text: str) -> bool:
    """Read a switch from the environment.

    Raises:
        ValueError: it is none.
    """
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"invalid boolean value: PYRO_{name}={text}")


config: Final[Configuration] = Configuration.on_config()


def main() -> None:
    """Print the settings."""
    print(config.dump())


if __name__ == "__main__":
    main()
