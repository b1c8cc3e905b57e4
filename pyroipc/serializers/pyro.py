"""The forms of the serializers for peers that are Pyro4 or Pyro5: what they have in common.

A format writes plain values as Pyro does.  What it is not sure to know goes, in this order, as

1. the class dict that ``Manner.describe`` gives: of registered objects, proxies and URIs;
2. the dict that a registered converter makes;
3. an exception, or the wrapper of one, in the shape that such a peer can rebuild;
4. whatever Pyro makes of it: numbers, texts, lists, and the attributes of an instance.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import Serializer
from pyroipc.serializers.classes import class_to_dict, converter_of
from pyroipc.serializers.pyro_exceptions import describe_for_pyro, substitute_for
from pyroipc.serializers.wrapped import WRAPPER_NAMES, ExceptionWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyroipc.serializers.base import Buffer, Manner
    from pyroipc.serializers.classes import ToDict

__all__ = ["PyroForm", "PyroValues", "blob_of"]

_FAILURES = (Exception, SystemExit, GeneratorExit)


class PyroForm(Serializer):
    """A serializer for one connection with a peer that is Pyro."""

    __slots__ = ()

    def dumps_error(self, exception: BaseException, lines: list[str] | None) -> bytes:
        """Encode an exception that a call raised.

        Args:
            exception: is not changed.
            lines: its traceback, which arrives as ``_pyroTraceback``.

        Raises:
            SerializeError: not even a text that stands for it can be encoded.
        """
        raise NotImplementedError

    def loads_error(self, data: Buffer) -> object:
        """Decode what a peer sent as an exception; it may be something else.

        Raises:
            SerializeError: the bytes are not a valid payload, or exceed a limit.
            SecurityError: the bytes name a class that may never be rebuilt.
        """
        return self.loads(data)

    def dumps_blob(self, object_id: str, member: str, data: object) -> bytes:
        """Encode a call whose argument is the data of a blob, not a sequence of arguments.

        Raises:
            SerializeError: the data cannot be encoded.
        """
        return self.dumps((object_id, member, data, {}))

    def loads_blob(self, data: Buffer) -> object:
        """Decode the data of a blob from the payload of the call that it came with.

        Raises:
            SerializeError: the bytes are not a valid call, or exceed a limit.
            SecurityError: the bytes name a class that may never be rebuilt.
        """
        return blob_of(self.loads(data))


def blob_of(call: object) -> object:
    """Return what stands for the arguments in a decoded call.

    Raises:
        SerializeError: it is no call.
    """
    match call:
        case (str(), str(), data, _) | [str(), str(), data, _]:
            return data
    raise SerializeError(
        "the payload is not a call with a blob: (object id, member, data, keyword arguments)"
    )


class PyroValues:
    """What the values of one connection that have classes look like to the peer.

    Args:
        manner: of the connection.
        form: makes a serializer that tries out what can be sent.
        is_probe: whether this belongs to one of those; it tries nothing out again.
        converter_of: finds the registered converter of a value.
    """

    __slots__ = ("_converter_of", "_form", "_is_probe", "describe", "manner")

    def __init__(
        self,
        manner: Manner,
        form: Callable[..., Serializer],
        *,
        is_probe: bool = False,
        converter_of: Callable[[object], ToDict | None] = converter_of,
    ) -> None:
        self.manner = manner
        self.describe = manner.describe
        self._converter_of = converter_of
        self._form = form
        self._is_probe = is_probe

    def class_to_dict(self, value: object) -> dict[str, Any]:
        """Turn what ``describe`` knows nothing special of into a dict; it is not changed.

        Raises:
            SerializeError: that cannot be done.
        """
        converter = self._converter_of(value)
        if converter is not None:
            return converter(value)
        if isinstance(value, BaseException):
            return self.exception_to_dict(value)
        if isinstance(value, ExceptionWrapper):
            return self.wrapper_to_dict(value)
        return class_to_dict(value)

    def exception_to_dict(self, exception: BaseException) -> dict[str, Any]:
        """Return the class dict of an exception that is part of a value."""
        return describe_for_pyro(exception, self.manner.family, None)

    def wrapper_to_dict(self, wrapper: ExceptionWrapper) -> dict[str, Any]:
        """Return the class dict of an exception that is a result among others."""
        exception, lines = wrapper.exception, wrapper.lines
        try:
            described = self.error_to_dict(exception, lines)
        except _FAILURES as failure:
            described = with_traceback(substitute_for(exception, failure), lines)
        return {"__class__": WRAPPER_NAMES[self.manner.family], "exception": described}

    def error_to_dict(self, exception: BaseException, lines: list[str] | None) -> dict[str, Any]:
        """Return the class dict of an exception that a call raised, with its traceback.

        A registered converter is not given the traceback, as nothing writes to the exception; if
        what it makes has attributes, the traceback is added to them.
        """
        converter = self._converter_of(exception)
        if converter is not None:
            described = dict(converter(exception))
        else:
            roundtrip = None if self._is_probe else self._roundtrip
            described = describe_for_pyro(exception, self.manner.family, roundtrip)
        return with_traceback(described, lines)

    def _roundtrip(self, value: object) -> object:
        form = self._form(self.manner, is_probe=True)
        return form.loads(form.dumps(value))

    def dumps_error(
        self, exception: BaseException, lines: list[str] | None, dumps: Callable[[object], bytes]
    ) -> bytes:
        """Encode an exception that a call raised; see ``PyroForm.dumps_error``."""
        try:
            return dumps(self.error_to_dict(exception, lines))
        except _FAILURES as failure:
            return dumps(with_traceback(substitute_for(exception, failure), lines))


def with_traceback(described: dict[str, Any], lines: list[str] | None) -> dict[str, Any]:
    """Return the class dict of an exception with the lines of its traceback."""
    attributes = described.get("attributes")
    if lines is None and isinstance(attributes, dict) and "_pyroTraceback" in attributes:
        return described  # it came from elsewhere with a traceback
    if isinstance(attributes, dict):
        return {**described, "attributes": {**attributes, "_pyroTraceback": lines}}
    return described
