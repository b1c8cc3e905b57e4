"""A manner for serializers alone: what stands for objects and URIs, without a session."""

from __future__ import annotations

from pyroipc.uri import URI

URI_NAMES = {"Pyro5": "Pyro5.core.URI", "Pyro4": "Pyro4.core.URI"}
PROXY_NAMES = {"Pyro5": "Pyro5.client.Proxy", "Pyro4": "Pyro4.core.Proxy"}


class Registered:
    """An object of which a proxy is sent."""


class RegisteredDict(dict):
    """The same, of a class that the formats would take for a dict."""


class RegisteredList(list):
    """The same, for a list."""


class RegisteredText(str):
    """The same, for a str."""

    __slots__ = ()


class RegisteredInt(int):
    """The same, for an int."""


class RegisteredFloat(float):
    """The same, for a float."""


class RegisteredTuple(tuple):
    """The same, for a tuple."""

    __slots__ = ()


class RegisteredSet(set):
    """The same, for a set."""


class RegisteredBytes(bytes):
    """The same, for bytes."""


class RegisteredError(Exception):
    """The same, for an exception."""


REGISTERED = (
    Registered, RegisteredDict, RegisteredList, RegisteredText, RegisteredInt, RegisteredFloat,
    RegisteredTuple, RegisteredSet, RegisteredBytes, RegisteredError,
)  # fmt: skip
ADDRESS = "PYRO:obj@localhost:9999"


class PlainManner:
    """Describes objects as the manner of a connection does."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.asked: list[object] = []

    def describe(self, value: object) -> dict[str, object] | None:
        """Return the class dict that stands for a value."""
        self.asked.append(value)
        if isinstance(value, REGISTERED):
            rest = ("hello", None)
            if self.family == "Pyro4":
                rest = (0.0, "b64:a2V5", "hello", 0, None)
            members = (("once",), ("once", "method"), ("attribute",))
            return {"__class__": PROXY_NAMES[self.family], "state": (ADDRESS, *members, *rest)}
        if isinstance(value, URI):
            state = (value.protocol, value.object, value.sockname, value.host, value.port)
            return {"__class__": URI_NAMES[self.family], "state": state}
        return None
