"""``Pyro4.util``: serializers, tracebacks, and what an object exposes."""

from __future__ import annotations

import builtins
import sys
import zlib

from pyroipc.compat.codecs import Codec
from pyroipc.compat.pyro4 import errors
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.exposing import public_part
from pyroipc.protocol import tracebacks
from pyroipc.protocol.tracebacks import format_traceback
from pyroipc.server.exposure import (
    METHOD,
    Member,
    MemberTable,
    exposed_members,
    forget_members,
    is_a,
    is_private_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any, ClassVar, Final

    from pyroipc.compat.codecs import Buffer, Call

__all__ = [
    "CloudpickleSerializer",
    "DillSerializer",
    "JsonSerializer",
    "MarshalSerializer",
    "MsgpackSerializer",
    "PickleSerializer",
    "SerializerBase",
    "SerpentSerializer",
    "all_exceptions",
    "excepthook",
    "formatTraceback",
    "getAttribute",
    "getPyroTraceback",
    "get_exposed_members",
    "get_exposed_property_value",
    "get_serializer",
    "get_serializer_by_id",
    "is_private_attribute",
    "reset_exposed_members",
    "set_exposed_property_value",
]

_COMPRESS_FROM: Final = 200
_UNLIMITED: Final = 2**31 - 1
_HEADLINE: Final = " +--- This exception occured remotely (Pyro) - Remote traceback:"
_HEADLINE_HERE: Final = _HEADLINE.replace("occured", "occurred")


# --------------------------------------------------------------------------------- tracebacks


def getPyroTraceback(
    ex_type: type[BaseException] | None = None,
    ex_value: BaseException | None = None,
    ex_tb: TracebackType | None = None,
) -> list[str]:
    """Return the traceback of an exception as lines, the remote part after the local one.

    Args:
        ex_type: the class of the exception. Without arguments, the exception that is being
            handled is meant.
        ex_value: the exception.
        ex_tb: its traceback.

    Raises:
        TypeError: *ex_type* alone is given, and it is not a class.
    """
    lines = tracebacks.get_pyro_traceback(ex_type, ex_value, ex_tb)
    return [_HEADLINE if line == _HEADLINE_HERE else line for line in lines]


def formatTraceback(
    ex_type: type[BaseException] | None = None,
    ex_value: BaseException | None = None,
    ex_tb: TracebackType | None = None,
    detailed: bool = False,
) -> list[str]:
    """Return the traceback of an exception as lines.

    Args:
        ex_type: as :func:`getPyroTraceback` takes it.
        ex_value: so is this.
        ex_tb: and this.
        detailed: show the values of the local variables, too.

    Raises:
        TypeError: *ex_type* alone is given, and it is not a class.
    """
    return format_traceback(ex_type, ex_value, ex_tb, detailed)


def excepthook(
    ex_type: type[BaseException], ex_value: BaseException, ex_tb: TracebackType | None
) -> None:
    """Print an exception with its remote traceback; for ``sys.excepthook``."""
    sys.stderr.write("".join(getPyroTraceback(ex_type, ex_value, ex_tb)))


def _exceptions() -> Iterator[tuple[str, type[BaseException]]]:
    for name, value in [*vars(builtins).items(), *vars(errors).items()]:
        if isinstance(value, type) and issubclass(value, BaseException):
            yield name, value


all_exceptions: dict[str, type[BaseException]] = dict(_exceptions())
"""The exceptions of Python and of Pyro by their names."""


# -------------------------------------------------------------------------------- serializers


class SerializerBase(Codec):
    """The base of all serializers: what they write is what Pyro4 writes.

    The registries of classes are those of the process, for all serializers.
    """

    _family: ClassVar[str] = "Pyro4"

    def serializeData(self, data: Any, compress: bool = False) -> tuple[bytes, bool]:
        """Encode a value; say whether it was compressed, which is done where it helps.

        Raises:
            SerializeError: it cannot be encoded.
        """
        return _compressed(self.dumps(data), wanted=compress)

    def deserializeData(self, data: Buffer, compressed: bool = False) -> Any:
        """Decode a value.

        Raises:
            SerializeError: the bytes are no valid payload.
            SecurityError: they name a class that may never be rebuilt.
        """
        return self.loads(_unpacked(data) if compressed else data)

    def serializeCall(
        self,
        obj: str,
        method: str,
        vargs: Sequence[Any],
        kwargs: dict[str, Any] | None,
        compress: bool = False,
    ) -> tuple[bytes, bool]:
        """Encode a call; say whether it was compressed, which is done where it helps.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        return _compressed(self.dumpsCall(obj, method, vargs, kwargs), wanted=compress)

    def deserializeCall(self, data: Buffer, compressed: bool = False) -> Call:
        """Decode a call; return the object id, the method, and its arguments.

        Raises:
            SerializeError: the bytes are no valid call.
            SecurityError: they name a class that may never be rebuilt.
        """
        return self.loadsCall(_unpacked(data) if compressed else data)


def _compressed(data: bytes, *, wanted: bool) -> tuple[bytes, bool]:
    if wanted and len(data) >= _COMPRESS_FROM:
        packed = zlib.compress(data)
        if len(packed) < len(data):
            return packed, True
    return data, False


def _unpacked(data: Buffer) -> bytes:
    """Return what is packed in some bytes, if it is not too large.

    Raises:
        ProtocolError: they cannot be unpacked.
        MessageTooLargeError: it is larger than MAX_MESSAGE_SIZE.
    """
    from pyroipc.compat.pyro4 import message

    packed = message.Message(0, b"", 0, message.FLAGS_COMPRESSED, 0)
    packed.data = bytes(data)
    return packed.decompress_if_needed().data


class SerpentSerializer(SerializerBase):
    """Serpent: Python literals."""

    serializer_id = 1
    _name = "serpent"


class JsonSerializer(SerializerBase):
    """JSON."""

    serializer_id = 2
    _name = "json"


class MarshalSerializer(SerializerBase):
    """Python's own marshal: fast, and only for peers that are trusted."""

    serializer_id = 3
    _name = "marshal"


class PickleSerializer(SerializerBase):
    """Pickle: loading it can run code, so only for peers that are verified local."""

    serializer_id = 4
    _name = "pickle"


class DillSerializer(SerializerBase):
    """Dill: as pickle, and more."""

    serializer_id = 5
    _name = "dill"


class MsgpackSerializer(SerializerBase):
    """MessagePack."""

    serializer_id = 6
    _name = "msgpack"


class CloudpickleSerializer(SerializerBase):
    """Cloudpickle: as pickle, and functions and classes too."""

    serializer_id = 7
    _name = "cloudpickle"


_serializers: dict[str, SerializerBase] = {
    made._name: made
    for made in (
        SerpentSerializer(),
        JsonSerializer(),
        MarshalSerializer(),
        PickleSerializer(),
        DillSerializer(),
        MsgpackSerializer(),
        CloudpickleSerializer(),
    )
}


def get_serializer(name: str) -> SerializerBase:
    """Return a serializer by its name, as SERIALIZER takes it.

    Raises:
        SerializeError: there is none of this name.
    """
    found = _serializers.get(name)
    if found is None:
        raise errors.SerializeError(
            f"serializer {name!r} is unknown or not available; there are "
            f"{', '.join(sorted(_serializers))}"
        )
    return found


def get_serializer_by_id(sid: int) -> SerializerBase:
    """Return a serializer by its number in Pyro4's messages.

    Raises:
        SerializeError: there is none of this number.
    """
    for found in _serializers.values():
        if found.serializer_id == sid:
            return found
    raise errors.SerializeError(f"no serializer available for id {sid!r}")


# --------------------------------------------------------------------------- what is exposed


def get_exposed_members(
    obj: Any, only_exposed: bool = True, as_lists: bool = False, use_cache: bool = True
) -> dict[str, Any]:
    """Name what can be called of an object or class: ``methods``, ``oneway``, ``attrs``.

    Args:
        obj: the object or class.
        only_exposed: what is marked with ``@expose``; otherwise all public methods and properties.
        as_lists: as lists; otherwise they are sets.
        use_cache: False looks at the class anew.
    """
    if not use_cache:
        reset_exposed_members(obj, only_exposed, as_lists)
    members = _members(obj, only_exposed=only_exposed).values()
    methods = [member for member in members if member.kind == METHOD]
    kind = list if as_lists else set
    return {
        "methods": kind(member.name for member in methods),
        "oneway": kind(member.name for member in methods if member.oneway),
        "attrs": kind(member.name for member in members if member.kind != METHOD),
    }


def _class_of(obj: Any) -> type:
    cls: type = obj if is_a(obj, type) else type(obj)
    return cls


def _members(obj: Any, *, only_exposed: bool) -> MemberTable:
    cls = _class_of(obj)
    if only_exposed:
        return exposed_members(cls)
    interface = public_part(cls)
    if interface is None:
        return MemberTable({})
    from pyroipc.server.interfaces import interface_members

    return interface_members(cls, interface, cls)


def reset_exposed_members(obj: Any, only_exposed: bool = True, as_lists: bool = False) -> None:
    """Forget what the class of an object exposes; it is looked at anew when that is asked for."""
    forget_members(_class_of(obj))


def is_private_attribute(attr_name: str) -> bool:
    """Say whether a name is private: never reachable from afar."""
    return is_private_name(attr_name)


def getAttribute(obj: Any, attr: str) -> Any:
    """Return a method of an object that may be called from afar.

    Raises:
        AttributeError: it is private, missing, or not exposed.
    """
    if is_private_name(attr):
        raise AttributeError(f"attempt to access private attribute '{attr}'")
    member = _members(obj, only_exposed=config.REQUIRE_EXPOSE).get(attr)
    if member is None or member.kind != METHOD:
        if not hasattr(_class_of(obj), attr):
            raise AttributeError(f"{_class_of(obj).__name__!r} object has no attribute {attr!r}")
        raise AttributeError(f"attempt to access unexposed attribute '{attr}'")
    return member.bind(obj)


def get_exposed_property_value(obj: Any, propname: str, only_exposed: bool = True) -> Any:
    """Return the value of a property that may be read from afar.

    Raises:
        AttributeError: it may not.
    """
    member = _property(obj, propname, only_exposed=only_exposed)
    if member.getter is None:
        raise AttributeError(_unexposed(propname))
    return member.getter(obj)


def set_exposed_property_value(
    obj: Any, propname: str, value: Any, only_exposed: bool = True
) -> Any:
    """Assign to a property that may be assigned from afar.

    Raises:
        AttributeError: it may not.
    """
    member = _property(obj, propname, only_exposed=only_exposed)
    if member.setter is None:
        raise AttributeError(_unexposed(propname))
    setter: Any = member.setter
    return setter(obj, value)


def _property(obj: Any, name: str, *, only_exposed: bool) -> Member:
    """Return what a property exposes.

    Raises:
        AttributeError: nothing.
    """
    members: Mapping[str, Member] = _members(obj, only_exposed=only_exposed)
    member = members.get(name)
    if member is None or member.kind == METHOD:
        raise AttributeError(_unexposed(name))
    return member


def _unexposed(name: str) -> str:
    return f"attempt to access unexposed or unknown remote attribute '{name}'"
