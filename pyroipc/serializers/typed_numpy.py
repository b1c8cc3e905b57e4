"""Arrays and scalars of numpy <-> tags and plain data, for the typed forms.

numpy is never imported here: what is described brings it along, and what arrives is built only if
the receiving program has imported it. The description of a dtype is built up from its own words,
strictly checked; none can name objects, so that nothing but numbers, texts, times and bytes comes
out, and the memory is exactly as large as the shape says.

=============  ==========================================================================
tag            data
=============  ==========================================================================
``ndarray``    dtype, shape, ``"C"`` or ``"F"``, whether it is writable, its bytes
``numpy``      a scalar: dtype, and the plain number or text; or dtype, None, its bytes
=============  ==========================================================================

A dtype is a text, as numpy writes it (``"<f8"``, ``"|S5"``, ``"<M8[ns]"``), or a list:

* ``["sub", dtype, [length, ...]]``: a field that is an array;
* ``["record", dtype]``: items are ``numpy.record``, whose fields are attributes;
* ``["struct", bytes of an item, whether aligned, [[name, title or None, offset, dtype], ...]]``.
"""

from __future__ import annotations

import math
import re
import sys

from pyroipc.errors import SerializeError
from pyroipc.serializers.parts import learn_types, memory_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    Described: TypeAlias = tuple[str | None, Any]

    class Making(Protocol):
        """What these functions use of a ``typed.Rebuilder``."""

        def charge(self, n_bytes: int) -> None:
            """Charge memory that a value takes beyond that of the payload."""


__all__ = [
    "Block",
    "describe_array",
    "describe_dtype",
    "describe_scalar",
    "is_scalar",
    "rebuild_dtype",
    "rebuilders_of_numpy",
    "refuse_subclass",
]

_MAX_DEPTH = 32
_FIELD_COST = 400
_PLAIN_KINDS = "biufcSU"
"""Kinds of scalars that a plain number or text stands for, if that holds all of them."""
_PLAIN = frozenset({int, float, complex, bool, str, bytes})
_is_dtype = re.compile(
    r"[<>|=](?:[biufcSUV][0-9]{1,9}|[mM]8(?:\[[0-9]{0,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
).fullmatch


class Block:
    """The memory of an array, which goes apart if it is large.

    Args:
        view: as bytes.
    """

    __slots__ = ("view",)

    def __init__(self, view: memoryview) -> None:
        self.view = view


# ------------------------------------------------------------------------------------ describing


def describe_array(value: Any) -> Described:
    """Describe an array; nothing of it is copied, unless it has gaps.

    Raises:
        SerializeError: it holds objects, or is of a dtype that only its maker knows.
    """
    learn_types()
    dtype = describe_dtype(value.dtype)
    order, view = memory_of(value)
    return "ndarray", [dtype, list(value.shape), order, bool(value.flags.writeable), Block(view)]


def refuse_subclass(value: object) -> None:
    """Refuse an array of a class that somebody has derived from numpy's.

    Raises:
        SerializeError: it is one.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, getattr(numpy, "ndarray", ())):
        raise SerializeError(
            "its class is a subclass of numpy.ndarray, and what it adds to that would be lost; "
            "send numpy.asarray of it (of a masked array its data and its mask), or register a "
            "converter for its class with register_class_to_dict"
        )


def is_scalar(value: object) -> bool:
    """Say whether a value, of a class of numpy's, is a scalar."""
    return any(
        base.__name__ == "generic" and base.__module__ == "numpy" for base in type(value).__mro__
    )


def describe_scalar(value: Any) -> Described:
    """Describe a scalar.

    Raises:
        SerializeError: it is of a dtype that only its maker knows, or holds objects.
    """
    dtype = describe_dtype(value.dtype)
    plain = value.item()
    if value.dtype.kind in _PLAIN_KINDS and type(plain) in _PLAIN:
        return "numpy", [dtype, plain]
    return "numpy", [dtype, None, value.tobytes()]


def describe_dtype(dtype: Any) -> str | list[Any]:
    """Describe a dtype.

    Raises:
        SerializeError: it holds objects, or only its maker knows it.
    """
    if dtype.hasobject:
        raise SerializeError(
            "arrays of objects hold references to this process's memory, and only pickle can "
            "send what they refer to. Send array.tolist(), or convert it to a dtype of numbers "
            "or texts (array.astype); between processes of one user on one machine use pickle"
        )
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ["sub", describe_dtype(base), list(shape)]
    if dtype.names is not None:
        fields = _describe_fields(dtype)
        described = ["struct", dtype.itemsize, bool(dtype.isalignedstruct), fields]
        return ["record", described] if dtype.type is sys.modules["numpy"].record else described
    text: str = dtype.str
    if not _is_dtype(text) or sys.modules["numpy"].dtype(text) != dtype:
        raise SerializeError(
            f"its dtype {dtype} is not one of numpy's own; send a view of it as one of those, "
            "such as array.view('u2')"
        )
    return text


def _describe_fields(dtype: Any) -> list[Any]:
    fields = []
    for name in dtype.names:
        inner, offset, *title = dtype.fields[name]
        if title and type(title[0]) is not str:
            raise SerializeError(f"the title of its field {name!r} is no text")
        fields.append([name, title[0] if title else None, offset, describe_dtype(inner)])
    return fields


# ------------------------------------------------------------------------------------ rebuilding


def _numpy(what: str) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        raise SerializeError(
            f"{what} of numpy has arrived, and this program has not imported numpy; import it "
            "at the receiving end (pip install numpy), or send array.tolist()"
        )
    return numpy


def _rebuild_array(rebuilder: Making, data: Any) -> object:
    described, shape, order, writable, content = data
    numpy = _numpy("an array")
    dtype = _rebuild_dtype(rebuilder, numpy, described)
    if type(shape) is not list or not all(type(length) is int and length >= 0 for length in shape):
        raise TypeError("a shape is a list of lengths")
    if order not in {"C", "F"} or type(writable) is not bool:
        raise ValueError("neither order nor use are known")
    memory = memoryview(content)
    if math.prod(shape) * dtype.itemsize != memory.nbytes:
        raise ValueError(f"{memory.nbytes} bytes do not make an array of shape {shape}")
    if not memory.nbytes:
        rebuilder.charge(math.prod(max(1, length) for length in shape))
    if writable and memory.readonly:  # it came within the payload
        memory = memoryview(bytearray(memory))
    if not writable:
        memory = memory.toreadonly()
    return numpy.ndarray(tuple(shape), dtype, buffer=memory, order=order)


def _rebuild_scalar(rebuilder: Making, data: Any) -> object:
    described, plain, *content = data
    if not content and type(plain) not in _PLAIN:
        raise TypeError("a plain value expected")
    if not content and "numpy" not in sys.modules:
        return plain
    numpy = _numpy("a scalar")
    dtype = _rebuild_dtype(rebuilder, numpy, described)
    if not content:
        return dtype.type(plain)
    (memory,) = content
    if type(memory) is not bytes or len(memory) != dtype.itemsize:
        raise ValueError("the bytes do not make a scalar")
    return numpy.ndarray((), dtype, buffer=bytearray(memory))[()]


def rebuild_dtype(numpy: Any, described: Any) -> Any:
    """Make a dtype from its description.

    Raises:
        ValueError: that is not one.
    """
    return _rebuild_dtype(_Free(), numpy, described)


class _Free:
    """Charges nothing: the peer is trusted."""

    def charge(self, n_bytes: int) -> None:
        pass


def _rebuild_dtype(rebuilder: Making, numpy: Any, described: Any, depth: int = 0) -> Any:
    """Make a dtype from its description.

    Raises:
        ValueError: that is not one.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("a dtype nested too deep")
    match described:
        case str(text) if _is_dtype(text):
            dtype = numpy.dtype(text)
        case ["sub", base, list(shape)] if all(type(n) is int and n >= 0 for n in shape):
            dtype = numpy.dtype((_rebuild_dtype(rebuilder, numpy, base, depth + 1), tuple(shape)))
        case ["record", ["struct", *_] as base]:
            fields = _rebuild_dtype(rebuilder, numpy, base, depth + 1)
            dtype = numpy.dtype((numpy.record, fields))
        case ["struct", int(n_bytes), bool(aligned), list(fields)]:
            rebuilder.charge(_FIELD_COST * (1 + len(fields)))
            dtype = _struct(numpy, n_bytes, aligned, [
                (*_checked_field(field), _rebuild_dtype(rebuilder, numpy, field[3], depth + 1))
                for field in fields
            ])  # fmt: skip
        case _:
            raise ValueError("not the description of a dtype")
    if dtype.hasobject:
        raise ValueError("a dtype of objects")
    return dtype


def _checked_field(field: Any) -> tuple[str, str | None, int]:
    match field:
        case [str(name), None | str() as title, int(offset), _] if offset >= 0:
            return name, title, offset
    raise ValueError("not a field")


def _struct(numpy: Any, n_bytes: int, aligned: bool, fields: list[Any]) -> Any:  # noqa: FBT001 - private
    names, titles, offsets, formats = (
        [list(column) for column in zip(*fields, strict=True)] if fields else ([], [], [], [])
    )
    layout = {
        "names": names,
        "formats": formats,
        "offsets": offsets,
        "titles": titles,
        "itemsize": n_bytes,
    }
    if aligned:
        try:
            return numpy.dtype(layout, align=True)
        except ValueError:
            pass  # a selection of fields, with gaps: they stay where they are
    return numpy.dtype(layout)


rebuilders_of_numpy: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "ndarray": (_rebuild_array, 500),
    "numpy": (_rebuild_scalar, 100),
}
"""Tag -> how to rebuild, and the memory that one takes."""
