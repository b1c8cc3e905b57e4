"""The serpent format: values as Python literals, readable by all Pyros; Pyro's default.

Payload: the line ``# serpent utf-8 python3.2`` and one literal in UTF-8 without white space; a
call is the tuple ``(object id, member, args, kwargs)``.  bytes, bytearray and memoryview arrive
as the dict ``{'data': <base64>, 'encoding': 'base64'}``.

Writing uses the serpent library's ``Serializer`` class, but neither its module-level table of
classes, which belongs to whoever else uses serpent in this process, nor its switching the
garbage collector off and on, which concerns all threads.  Reading is our own (``literal``):
the library's ``ast.literal_eval`` takes 490 times the memory of a payload and can crash.

The typed form, for connections of our own dialect, is written by ``typed_text``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import ItemsView, KeysView, ValuesView
from enum import Enum

import serpent as library

from pyroipc.errors import PyroError, SecurityError, SerializeError
from pyroipc.serializers.base import (
    MAX_DEPTH,
    Serializer,
    checked_call,
    decoding_fault,
    encoding_fault,
)
from pyroipc.serializers.classes import (
    exception_to_dict,
    instance_to_dict,
    own_state,
    recreate,
    serpent_converters,
)
from pyroipc.serializers.culprits import cannot_send, cannot_send_call
from pyroipc.serializers.literal import parse
from pyroipc.serializers.parts import LargeFoundError, learn_types
from pyroipc.serializers.pyro import PyroForm, PyroValues
from pyroipc.serializers.typed import Rebuilder, Values, encode_apart
from pyroipc.serializers.typed_text import head_of, write
from pyroipc.serializers.wrapped import ExceptionWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyroipc.serializers.base import (
        Buffer,
        ClassesFor,
        DecodedCall,
        Manner,
        PeerImage,
        References,
    )
    from pyroipc.serializers.parts import Parts

    Handler = Callable[[Any, "_Writer", list[str], int], None]

__all__ = ["SerpentSerializer"]

_HEADER = "# serpent utf-8 python3.2\n"


class SerpentSerializer(Serializer):
    """Serpent, id 1."""

    __slots__ = ()

    name = "serpent"
    id = 1
    trust = "data"

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        try:
            return _Writer().serialize(value)
        except SerializeError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("serpent", value, error)) from error

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads.

        Raises:
            SerializeError: the bytes are not a valid payload, or exceed a limit.
            SecurityError: a class in it may never be rebuilt.
        """
        try:
            return _read(data)
        except (SerializeError, SecurityError):
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("serpent", error)) from error

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self.dumps((object_id, member, args, kwargs))

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self.loads(data))

    def for_connection(
        self,
        peer: PeerImage,
        references: References | None = None,
        classes_for: ClassesFor | None = None,
    ) -> Serializer:
        """Return the typed form: what is sent is what arrives."""
        learn_types()
        values = Values(references, classes_for)
        return TypedSerpentSerializer(values.wary(), TypedSerpentSerializer(values))

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro; see Serializer.for_pyro."""
        return PyroSerpentSerializer(manner)


class TypedSerpentSerializer(SerpentSerializer):
    """What serpent's form for our own dialect is; ``text`` and ``typed`` do the work."""

    __slots__ = ("_inline", "_values")

    is_typed = True

    def __init__(self, values: Values, inline: TypedSerpentSerializer | None = None) -> None:
        self._values = values
        self._inline = inline  # keeps large buffers; None: this one does

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps."""
        return (self._inline or self).dumps_parts(value)  # type: ignore[return-value]

    def dumps_parts(self, value: object) -> bytes | Parts:
        """Encode one value; see Serializer.dumps_parts.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        out = [_HEADER]
        try:
            write(value, out, 0, self._values)
            return "".join(out).encode("utf-8")
        except LargeFoundError:
            return encode_apart(TypedSerpentSerializer, self._values, "dumps_parts", value)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send("serpent", self._values, value, error)

    def loads(self, data: Buffer) -> object:
        """Decode one value; see Serializer.loads."""
        return self._read(data, is_call=False)

    def loads_parts(self, data: Buffer, buffers: Sequence[Any]) -> object:
        """Decode one value; see Serializer.loads_parts."""
        return self._read(data, buffers, is_call=False)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return (self._inline or self).dumps_call_parts(object_id, member, args, kwargs)  # type: ignore[return-value]

    def dumps_call_parts(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes | Parts:
        """Encode a call; see Serializer.dumps_call_parts.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        values = self._values
        out = [f"{_HEADER}({object_id!r},{member!r},"]
        try:
            write(args, out, 1, values)
            out.append(",")
            write(kwargs, out, 1, values)
            out.append(")")
            return "".join(out).encode("utf-8")
        except LargeFoundError:
            call = (object_id, member, args, kwargs)
            return encode_apart(TypedSerpentSerializer, values, "dumps_call_parts", *call)
        except Exception as error:  # noqa: BLE001 - the next line raises
            cannot_send_call("serpent", values, args, kwargs, error)

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call; see Serializer.loads_call."""
        return checked_call(self._read(data, is_call=True))

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode a call; see Serializer.loads_call_parts."""
        return checked_call(self._read(data, buffers, is_call=True))

    def _read(self, data: Buffer, buffers: Sequence[Any] = (), *, is_call: bool) -> object:
        try:
            text = str(data, "utf-8")
            start = _start_of(text)
            if "..." not in text:
                return parse(text, start)
            head = (lambda: head_of(text, start)) if is_call else None
            rebuilder = Rebuilder(self._values, len(data), head, buffers)
            value = parse(text, start, rebuilder.rebuild)
            rebuilder.check_head(value)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(decoding_fault("serpent", error)) from error
        return value


class PyroSerpentSerializer(PyroForm, SerpentSerializer):
    """What serpent's form for peers that are Pyro is; ``_PyroWriter`` does the work."""

    __slots__ = ("_values",)

    def __init__(self, manner: Manner, *, is_probe: bool = False) -> None:
        self._values = PyroValues(
            manner, PyroSerpentSerializer, is_probe=is_probe, converter_of=_converter_of
        )

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
            PyroError: what stands for a value cannot be told.
        """
        try:
            if type(value) in _REPR:
                return f"{_HEADER}{value!r}".encode()
            return _PyroWriter(self._values).serialize(value)
        except PyroError:
            raise
        except Exception as error:
            raise SerializeError(encoding_fault("serpent", value, error)) from error

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        if not kwargs and type(args) is tuple and _REPR.issuperset(map(type, args)):
            try:
                shown = ",".join(map(repr, args)) + ("," if len(args) == 1 else "")
                return f"{_HEADER}({object_id!r},{member!r},({shown}),{kwargs!r})".encode()
            except ValueError as error:  # an int has too many digits
                raise SerializeError(encoding_fault("serpent", args, error)) from error
        return self.dumps((object_id, member, args, kwargs))

    def dumps_error(self, exception: BaseException, lines: list[str] | None) -> bytes:
        """Encode an exception; see PyroForm.dumps_error."""
        return self._values.dumps_error(exception, lines, self.dumps)


def _read(data: Buffer) -> Any:
    text = str(data, "utf-8")
    value = parse(text, _start_of(text))
    if "__class__" in text or ("\\" in text and _may_hide(text)):
        return recreate(value)
    return value


def _start_of(text: str) -> int:
    if text.startswith(_HEADER):
        return len(_HEADER)
    # Other implementations of serpent name other Pythons.
    return text.index("\n") + 1 if text.startswith("#") else 0


_may_hide = re.compile(r"\\[xuUN0-7]").search
"""Find an escape that could stand for a letter of ``__class__``."""


class _Writer(library.Serializer):  # type: ignore[misc, unused-ignore]
    """The library's writer with a table of classes of its own."""

    def __init__(self) -> None:
        super().__init__(module_in_classname=True)
        self.maximum_level = MAX_DEPTH
        self.special_classes_registry_copy = _handlers()

    def serialize(self, obj: object) -> bytes:
        """Write the header and *obj*, leaving the garbage collector alone."""
        out = [_HEADER]
        self._serialize(obj, out, 0)
        return "".join(out).encode("utf-8")

    def _write_float(self, value: float, out: list[str], level: int) -> None:
        self.ser_builtins_float(
            float(value), out, level
        )  # numpy's floats have a repr of their own

    def _write_exception(self, value: BaseException, out: list[str], level: int) -> None:
        self.ser_builtins_dict(exception_to_dict(value), out, level)

    def _write_enum(self, value: Enum, out: list[str], level: int) -> None:
        self._serialize(value.value, out, level)

    def _write_view(self, value: Any, out: list[str], level: int) -> None:
        self.ser_builtins_list(list(value), out, level)

    def _write_ordered_dict(self, value: Any, out: list[str], level: int) -> None:
        described = {"__class__": "collections.OrderedDict", "items": list(value.items())}
        with_guard(self, value, described, out, level)

    def _write_instance(self, value: object, out: list[str], level: int) -> None:
        if isinstance(value, KeysView | ValuesView | ItemsView):
            self._write_view(value, out, level)
            return
        state = own_state(value)
        if isinstance(state, dict):
            if "__class__" not in state:
                cls = type(value)
                state = {**state, "__class__": f"{cls.__module__}.{cls.__name__}"}
        elif state is None:
            state = instance_to_dict(value)
        with_guard(self, value, state, out, level)

    dispatch = {  # noqa: RUF012 - the library's name for it
        **library.Serializer.dispatch,
        float: _write_float,
        BaseException: _write_exception,
        Enum: _write_enum,
        OrderedDict: _write_ordered_dict,
        object: _write_instance,
    }


class _PyroWriter(_Writer):
    """Writes for a peer that is Pyro: asks about all that is not plain."""

    def __init__(self, values: PyroValues) -> None:
        super().__init__()
        self._values = values

    def _serialize(self, obj: Any, out: list[str], level: int) -> None:
        kind = type(obj)
        if kind in _REPR:
            out.append(repr(obj))
        elif kind in _DIRECT and level <= self.maximum_level:
            self.dispatch[kind](self, obj, out, level)
        elif kind in _PLAIN:
            super()._serialize(obj, out, level)
        else:
            described = self._values.describe(obj)
            if described is None:
                super()._serialize(obj, out, level)
            else:
                with_guard(self, obj, described, out, level)

    def _write_exception(self, value: BaseException, out: list[str], level: int) -> None:
        with_guard(self, value, self._values.exception_to_dict(value), out, level)

    def _write_wrapper(self, value: ExceptionWrapper, out: list[str], level: int) -> None:
        with_guard(self, value, self._values.wrapper_to_dict(value), out, level)

    dispatch = {  # noqa: RUF012 - the library's name for it
        **_Writer.dispatch,
        BaseException: _write_exception,
        ExceptionWrapper: _write_wrapper,
    }


_REPR = frozenset({str, int, bool, type(None)})
_DIRECT = frozenset({float, complex, list, tuple, dict, set, frozenset})
_PLAIN = _DIRECT | {bytes, bytearray, memoryview}


def with_guard(writer: _Writer, owner: object, state: Any, out: list[str], level: int) -> None:
    """Write the *state* that stands for *owner*, which must not be inside itself.

    Raises:
        ValueError: it is.
    """
    busy = writer.serialized_obj_ids
    if id(owner) in busy:
        raise ValueError(f"a {type(owner).__name__} contains itself")
    busy.add(id(owner))
    try:
        writer._serialize(state, out, level)  # noqa: SLF001 - the library's hook for subclasses
    finally:
        busy.discard(id(owner))


_handlers_made: tuple[object, dict[type, Handler]] = (None, {})


def _handlers() -> dict[type, Handler]:
    """Return a writing function for each class with a registered converter."""
    global _handlers_made
    converters = serpent_converters()
    if _handlers_made[0] is not converters:
        made = {clazz: _handler(converter) for clazz, converter in converters.items()}
        _handlers_made = (converters, made)
    return _handlers_made[1]


def _converter_of(value: object) -> Callable[[Any], Any] | None:
    """Find the converter by which serpent sends a value."""
    for clazz, converter in serpent_converters().items():
        if isinstance(value, clazz):
            return converter
    return None


def _handler(converter: Callable[[Any], Any]) -> Handler:
    def write(value: Any, writer: _Writer, out: list[str], level: int) -> None:
        with_guard(writer, value, converter(value), out, level)

    return write
