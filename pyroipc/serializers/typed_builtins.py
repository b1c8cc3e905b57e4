"""What is built into Python <-> tags and plain data, for the typed forms."""

from __future__ import annotations

from pyroipc.serializers.base import check_keys
from pyroipc.serializers.typed_buffers import describe_content
from pyroipc.serializers.typed_library import FACTORIES, pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    Described: TypeAlias = tuple[str | None, Any]

    class Making(Protocol):
        """What these functions use of a ``typed.Rebuilder``."""

        def charge(self, n_bytes: int) -> None:
            """Charge memory that a value takes beyond that of the payload."""


__all__ = ["BUILTINS", "checked", "rebuilders_of_builtins"]


# ------------------------------------------------------------------------------------ describing


def _tuple(value: Any) -> Described:
    return "tuple", list(value)


def _set(value: Any) -> Described:
    return "set", list(value)


def _frozenset(value: Any) -> Described:
    return "frozenset", list(value)


def _dict(value: Any) -> Described:
    return "dict", pairs_of(value)


def _bytes(value: Any) -> Described:
    return None, value


def _bytearray(value: Any) -> Described:
    return "bytearray", bytes(value)


def _int(value: Any) -> Described:
    return "int", f"{value:x}"


def _float(value: Any) -> Described:
    return "float", repr(value)


def _complex(value: Any) -> Described:
    return "complex", [value.real, value.imag]


def _ellipsis(value: Any) -> Described:
    return "...", None


def _range(value: Any) -> Described:
    return "range", [value.start, value.stop, value.step]


def _slice(value: Any) -> Described:
    return "slice", [value.start, value.stop, value.step]


BUILTINS: dict[type, Callable[[Any], Described]] = {
    tuple: _tuple, set: _set, frozenset: _frozenset, dict: _dict, bytes: _bytes, int: _int,
    bytearray: _bytearray, memoryview: describe_content, float: _float, complex: _complex,
    type(...): _ellipsis, range: _range, slice: _slice,
}  # fmt: skip
"""Type -> how to describe a value of it."""


# ------------------------------------------------------------------------------------ rebuilding


def checked(data: Any, kind: type) -> Any:
    """Return data if they are of this very type.

    Raises:
        TypeError: they are not.
    """
    if type(data) is not kind:
        raise TypeError(f"{kind.__name__} expected, not {type(data).__name__}")
    return data


def _list(_: Making, data: Any) -> Any:
    return checked(data, list)


def _rebuild_tuple(_: Making, data: Any) -> object:
    return tuple(checked(data, list))


def _rebuild_set(rebuilder: Making, data: Any) -> object:
    _charge_elements(rebuilder, data)
    return set(check_keys(data))


def _rebuild_frozenset(rebuilder: Making, data: Any) -> object:
    _charge_elements(rebuilder, data)
    return frozenset(check_keys(data))


def _charge_elements(rebuilder: Making, data: Any) -> None:
    """Charge what a hash table takes beyond what is in the price of each of its kind."""
    rebuilder.charge(16 * max(0, len(checked(data, list)) - 4))


def _rebuild_dict(rebuilder: Making, data: Any) -> dict[Any, Any]:
    keys = check_keys(checked(data, list)[::2])
    rebuilder.charge(40 * len(keys))
    return dict(zip(keys, data[1::2], strict=True))


def _rebuild_ordered_dict(rebuilder: Making, data: Any) -> object:
    from collections import OrderedDict

    return OrderedDict(_rebuild_dict(rebuilder, data))


def _rebuild_counter(rebuilder: Making, data: Any) -> object:
    from collections import Counter

    return Counter(_rebuild_dict(rebuilder, data))


def _rebuild_defaultdict(rebuilder: Making, data: Any) -> object:
    from collections import defaultdict

    factory, flat = data
    return defaultdict(
        None if factory is None else FACTORIES[factory], _rebuild_dict(rebuilder, flat)
    )


def _rebuild_deque(_: Making, data: Any) -> object:
    from collections import deque

    items, maxlen = data
    if maxlen is not None and len(checked(items, list)) > maxlen:
        raise ValueError("it is longer than its maxlen")
    return deque(checked(items, list), maxlen)


def _rebuild_bytes(_: Making, data: Any) -> object:
    if type(data) is bytes:
        return data
    import binascii

    return binascii.a2b_base64(checked(data, str))


def _rebuild_bytearray(_: Making, data: Any) -> object:
    return bytearray(checked(data, bytes))


def _rebuild_int(_: Making, data: Any) -> object:
    return int(checked(data, str), 16)  # linear in its length, and without a limit


def _rebuild_float(_: Making, data: Any) -> object:
    return float(checked(data, str))


def _rebuild_complex(_: Making, data: Any) -> object:
    real, imag = data
    return complex(checked(real, float), checked(imag, float))


def _rebuild_ellipsis(_: Making, data: Any) -> object:
    return ...


def _rebuild_range(_: Making, data: Any) -> object:
    start, stop, step = data
    return range(checked(start, int), checked(stop, int), checked(step, int))


def _rebuild_slice(_: Making, data: Any) -> object:
    return slice(*checked(data, list)[:3])


rebuilders_of_builtins: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "tuple": (_rebuild_tuple, 0), "set": (_rebuild_set, 220),
    "frozenset": (_rebuild_frozenset, 220), "dict": (_rebuild_dict, 64),
    "bytes": (_rebuild_bytes, 0), "bytearray": (_rebuild_bytearray, 64), "int": (_rebuild_int, 0),
    "float": (_rebuild_float, 0), "complex": (_rebuild_complex, 0), "...": (_rebuild_ellipsis, 0),
    "range": (_rebuild_range, 48), "slice": (_rebuild_slice, 48),
    "OrderedDict": (_rebuild_ordered_dict, 500), "Counter": (_rebuild_counter, 260),
    "defaultdict": (_rebuild_defaultdict, 200), "deque": (_rebuild_deque, 760),
}  # fmt: skip
"""Tag -> how to rebuild, and the memory that one takes beyond its parts, at most."""
