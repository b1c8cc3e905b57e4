"""Values into JSON that everybody can read, and what a daemon sends into plain values.

JSON for HTTP is the plain form of the serializer json, as Pyro has it, and some more:

======================================  ===========================================================
value                                   JSON
======================================  ===========================================================
tuple, set, frozenset, deque, array     array
NaN and the infinities                  ``null``: JSON has no such numbers
bytes, bytearray                        ``{"data": <base64>, "encoding": "base64"}``
complex                                 ``{"__class__": "complex", "real": .., "imag": ..}``
datetime, date, time                    text, as ``isoformat`` gives it
timedelta                               number of seconds
UUID, Decimal, Fraction, path, address  text
dataclass, instance of a class          ``{"__class__": <name>, ...}`` with its attributes
enum                                    text: the name of the member
namedtuple                              array
exception                               ``{"__class__": <name>, "__exception__": true,
                                        "args": [..], "attributes": {..}}``
registered object, proxy                ``{"__class__": "pyroipc.Proxy", "state": <URI>}``
URI                                     ``{"__class__": "pyroipc.URI", "state": <URI>}``
======================================  ===========================================================

Classes of remote objects are not known here, and need not be: a :class:`Reader` takes the typed
form of json apart without making instances.
"""

from __future__ import annotations

import json
from json.decoder import JSONDecoder
from json.encoder import JSONEncoder

from pyroipc.errors import CommunicationError, PyroError, SerializeError
from pyroipc.serializers.base import decoding_fault, encoding_fault
from pyroipc.serializers.classes import class_to_dict, exception_to_dict, simple_value
from pyroipc.serializers.typed import Rebuilder, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.base import Buffer

__all__ = ["Reader", "described_failure", "json_bytes"]


# ------------------------------------------------------------------------------- values -> JSON


def json_bytes(value: object) -> bytes:
    """Return a value as JSON, in UTF-8 and without line ends.

    Raises:
        SerializeError: the value, or something inside it, cannot be shown as JSON.
    """
    try:
        try:
            text = _encode(value)
        except ValueError:  # most likely a number that is none
            loose = json.loads(_encode_loosely(value), parse_constant=lambda _: None)
            text = _encode(loose)
    except SerializeError:
        raise
    except Exception as error:
        raise SerializeError(encoding_fault("json", value, error)) from error
    # A surrogate alone cannot be written in UTF-8. Its escape is the same in Python and in JSON.
    return text.encode("utf-8", "backslashreplace")


def described_failure(error: BaseException, *, traceback: bool = False) -> dict[str, Any]:
    """Return an exception as the dict that Pyro has for it; JSON can show all of it.

    Args:
        error: what was raised, here or in a remote method.
        traceback: also tell the remote traceback.
    """
    found = exception_to_dict(error, json_bytes)
    attributes = {str(name): value for name, value in found["attributes"].items()}
    if isinstance(error, CommunicationError) and "_pyroTraceback" not in attributes:
        attributes["call_status"] = error.call_status  # how far the call has come
    if not traceback:
        attributes.pop("_pyroTraceback", None)
    return {
        "__class__": found["__class__"],
        "__exception__": True,
        "args": found["args"],
        "attributes": attributes,
    }


def _default(value: Any) -> object:
    """Return what JSON is to show instead of a value that it does not know."""
    simple = simple_value(value)
    if simple is not value:
        return simple
    for base in type(value).__mro__:
        show = _SHOWN.get((base.__module__.partition(".")[0], base.__name__))
        if show is not None:
            return show(value)
    if type(value).__module__.partition(".")[0] in _AS_TEXT:
        return str(value)
    return class_to_dict(value)


def _binary(value: Any) -> dict[str, str]:
    from base64 import b64encode

    return {"data": b64encode(value).decode("ascii"), "encoding": "base64"}


def _complex(value: Any) -> dict[str, Any]:
    return {"__class__": "complex", "real": value.real, "imag": value.imag}


def _iso(value: Any) -> Any:
    return value.isoformat()


def _seconds(value: Any) -> Any:
    return value.total_seconds()


def _items(value: Any) -> Any:
    return value.tolist()


# By name, so that their modules need not be imported.
_SHOWN: dict[tuple[str, str], Callable[[Any], object]] = {
    ("builtins", "bytes"): _binary,
    ("builtins", "bytearray"): _binary,
    ("builtins", "complex"): _complex,
    ("builtins", "frozenset"): list,
    ("collections", "deque"): list,
    ("datetime", "date"): _iso,  # of which datetime is derived
    ("datetime", "time"): _iso,
    ("datetime", "timedelta"): _seconds,
    ("datetime", "tzinfo"): str,
    ("numpy", "generic"): _items,
    ("numpy", "ndarray"): _items,
}
_AS_TEXT = frozenset({"fractions", "ipaddress", "pathlib", "zoneinfo"})

_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, default=_default).encode
_encode_loosely = JSONEncoder(ensure_ascii=False, allow_nan=True, default=_default).encode


# ----------------------------------------------------------------------- payloads -> plain values


class Reader:
    """Decodes results of the serializer json without knowing their classes.

    Args:
        is_typed: whether the payloads are of json's typed form.
        refer: returns what stands for a reference to an object of the peer.
    """

    __slots__ = ("_refer", "_typed")

    def __init__(self, *, is_typed: bool, refer: Callable[[list[Any]], object]) -> None:
        self._typed = is_typed
        self._refer = refer

    def loads(self, data: Buffer) -> Any:
        """Decode one value.

        Raises:
            SerializeError: the bytes are no valid payload, or would take too much memory.
            PyroError: a reference in it stands for nothing.
        """
        payload = bytes(data)
        try:
            text = _text_of(payload)
            if not self._typed or b'"@"' not in payload:
                return _decode(text)
            return JSONDecoder(object_hook=self._hook(len(payload))).decode(text)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("json", error)) from error

    def _hook(self, size_bytes: int) -> Callable[[dict[str, Any]], Any]:
        rebuild = Rebuilder(Values(), size_bytes).rebuild

        def hook(found: dict[str, Any]) -> Any:
            if "@" not in found:
                return found
            tag, data = found["@"], found["v"]
            if tag == "reference":
                return self._refer(data)
            make = _PLAINER.get(tag)
            return rebuild(tag, data) if make is None else make(data)

        return hook


def _text_of(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "surrogatepass")


def _as_is(data: Any) -> Any:
    return data


def _dataclass(data: Any) -> dict[str, Any]:
    name, fields = data
    return {"__class__": name, **fields}


def _enum(data: Any) -> Any:
    return data[1]  # the name of the member; of a flag that has none, its number


def _namedtuple(data: Any) -> Any:
    return data[2]  # the class, the fields, the values


_decode = JSONDecoder().decode
_PLAINER: dict[str, Callable[[Any], Any]] = {
    "set": _as_is,
    "frozenset": _as_is,
    "class": _as_is,
    "dataclass": _dataclass,
    "enum": _enum,
    "namedtuple": _namedtuple,
}
"""What becomes of values whose classes need not be known, or whose parts need not have a hash."""
