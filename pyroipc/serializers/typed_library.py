"""Values of the standard library <-> tags and plain data, for the typed forms.

Classes are recognised by module and name of the exact type, so that no module is imported here
before a value of it is sent or arrives.  What is rebuilt goes through the class's own constructor
after a check of the types; that refuses what is out of range.

==============  =================================================================
tag             data
==============  =================================================================
``Decimal``     its text
``Fraction``    numerator, denominator: lowest terms, at most 16 384 bits each
``datetime``    year, month, day, hour, minute, second, microsecond, fold, zone
``date``        year, month, day
``time``        hour, minute, second, microsecond, fold, zone
``timedelta``   days, seconds, microseconds
``timezone``    timedelta, or timedelta and name
``zone``        the key of a ``zoneinfo.ZoneInfo``
``UUID``        32 hex digits
``path``        ``"path"`` (a path of this machine), ``"posix"`` or ``"windows"``; text
``array``       type code, size of an item, byte order, bytes; of texts: type code, text
``ip``          the name of the class in ``ipaddress``, text
==============  =================================================================
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers.parts import learn_types
from pyroipc.serializers.typed_buffers import describe_content
from pyroipc.serializers.typed_numpy import (
    describe_array,
    describe_scalar,
    is_scalar,
    refuse_subclass,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["FACTORIES", "describe_library", "pairs_of", "rebuilders_of_library"]

_MAX_FRACTION_BITS = 16_384
"""A fraction is brought to lowest terms, which takes time with the square of its length."""
_MAX_ZONE_CHARACTERS = 64


def describe_library(value: object) -> tuple[str | None, Any] | None:
    """Return tag and data of a value of the standard library or of numpy; None: it is neither.

    Raises:
        SerializeError: it is one, but cannot be sent.
    """
    cls = type(value)
    describe = _DESCRIBE.get((cls.__module__, cls.__qualname__))
    if describe is not None:
        return describe(value)
    described = _numpy(value) if cls.__module__ == "numpy" else None
    if described is None:
        refuse_subclass(value)
    return described


def _numpy(value: Any) -> tuple[str | None, Any] | None:
    """Describe an array or a scalar of numpy."""
    if type(value).__qualname__ in {"ndarray", "memmap"}:
        return describe_array(value)
    return describe_scalar(value) if is_scalar(value) else None


def _decimal(value: Any) -> tuple[str, Any]:
    return "Decimal", str(value)


def _fraction(value: Any) -> tuple[str, Any]:
    terms = [value.numerator, value.denominator]
    if max(term.bit_length() for term in terms) > _MAX_FRACTION_BITS:
        raise SerializeError(
            f"its terms have more than {_MAX_FRACTION_BITS} bits; send numerator and denominator"
        )
    return "Fraction", terms


def _datetime(value: Any) -> tuple[str, Any]:
    return "datetime", [
        value.year, value.month, value.day, value.hour, value.minute, value.second,
        value.microsecond, value.fold, _zone_of(value),
    ]  # fmt: skip


def _date(value: Any) -> tuple[str, Any]:
    return "date", [value.year, value.month, value.day]


def _time(value: Any) -> tuple[str, Any]:
    return "time", [
        value.hour, value.minute, value.second, value.microsecond, value.fold, _zone_of(value),
    ]  # fmt: skip


def _zone_of(value: Any) -> object:
    """Return a zone that can be sent: the value's own, or one with the same fixed offset.

    Raises:
        SerializeError: its zone has no fixed offset either.
    """
    zone = value.tzinfo
    if zone is None or _known_zone(zone):
        return zone
    offset = value.utcoffset()
    if offset is None:
        raise SerializeError(
            f"its zone, a {type(zone).__module__}.{type(zone).__qualname__}, has no offset"
        )
    from datetime import timezone

    return timezone(offset)


def _known_zone(zone: Any) -> bool:
    cls = type(zone)
    where = (cls.__module__, cls.__qualname__)
    return where == ("datetime", "timezone") or (
        where in _ZONEINFO and type(zone.key) is str and _is_zone_name(zone.key)
    )


_ZONEINFO = frozenset({("zoneinfo", "ZoneInfo"), ("zoneinfo._zoneinfo", "ZoneInfo")})


def _timedelta(value: Any) -> tuple[str, Any]:
    return "timedelta", [value.days, value.seconds, value.microseconds]


def _timezone(value: Any) -> tuple[str, Any]:
    return "timezone", list(value.__getinitargs__())


def _zone(value: Any) -> tuple[str, Any]:
    if not _known_zone(value):
        raise SerializeError("this zone has no key by which a peer could find it")
    return "zone", value.key


def _uuid(value: Any) -> tuple[str, Any]:
    return "UUID", value.hex


def _path(value: Any) -> tuple[str, Any]:
    return "path", ["path", str(value)]


def _posix_path(value: Any) -> tuple[str, Any]:
    return "path", ["posix", str(value)]


def _windows_path(value: Any) -> tuple[str, Any]:
    return "path", ["windows", str(value)]


def _array(value: Any) -> tuple[str, Any]:
    learn_types()
    if value.typecode in "uw":
        return "array", [value.typecode, value.tounicode()]
    from sys import byteorder

    return "array", [value.typecode, value.itemsize, byteorder, value.tobytes()]


def _ip(value: Any) -> tuple[str, Any]:
    return "ip", [type(value).__name__, str(value)]


def _ordered_dict(value: Any) -> tuple[str, Any]:
    return "OrderedDict", pairs_of(value)


def _counter(value: Any) -> tuple[str, Any]:
    return "Counter", pairs_of(value)


def _defaultdict(value: Any) -> tuple[str, Any]:
    factory = value.default_factory
    name = factory and getattr(factory, "__name__", "")
    if factory is not None and FACTORIES.get(name) is not factory:
        raise SerializeError(
            "the peer cannot be told its default_factory; send dict(...) of it, or use a "
            "built-in class as the factory"
        )
    return "defaultdict", [name, pairs_of(value)]


FACTORIES: dict[object, type] = {
    factory.__name__: factory
    for factory in (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
"""What a defaultdict may call for a missing key, by name."""


def _deque(value: Any) -> tuple[str, Any]:
    return "deque", [list(value), value.maxlen]


def pairs_of(mapping: Mapping[Any, Any]) -> list[Any]:
    """Return keys and values of a dict as one flat list."""
    flat: list[Any] = []
    for pair in mapping.items():
        flat += pair
    return flat


_IP_CLASSES = frozenset({
    "IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface",
})  # fmt: skip
_DESCRIBE: dict[tuple[str, str], Callable[[Any], tuple[str | None, Any]]] = {
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): _fraction,
    ("datetime", "datetime"): _datetime,
    ("datetime", "date"): _date,
    ("datetime", "time"): _time,
    ("datetime", "timedelta"): _timedelta,
    ("datetime", "timezone"): _timezone,
    **dict.fromkeys(_ZONEINFO, _zone),
    ("uuid", "UUID"): _uuid,
    **{
        (module, name): describe
        for module in ("pathlib", "pathlib._local")
        for name, describe in (
            ("PosixPath", _path),
            ("WindowsPath", _path),
            ("PurePosixPath", _posix_path),
            ("PureWindowsPath", _windows_path),
        )
    },
    ("array", "array"): _array,
    ("mmap", "mmap"): describe_content,
    ("pyroipc.transports.segments", "SharedBuffer"): describe_content,
    **{("ipaddress", name): _ip for name in _IP_CLASSES},
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "Counter"): _counter,
    ("collections", "defaultdict"): _defaultdict,
    ("collections", "deque"): _deque,
}


# ------------------------------------------------------------------------------------ rebuilding


def _checked(data: Any, *kinds: type) -> Any:
    """Return a list whose items are of these types.

    Raises:
        TypeError: it is something else.
    """
    if type(data) is not list or tuple(map(type, data)) != kinds:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"a list of {names} expected")
    return data


def _rebuild_decimal(_: object, data: Any) -> object:
    from decimal import Decimal

    if type(data) is not str:
        raise TypeError("a text expected")
    value = Decimal(data)
    if value.is_nan() and "nan" not in data.lower():  # what a context without that trap gives
        raise ValueError("not the text of a Decimal")
    return value


def _rebuild_fraction(_: object, data: Any) -> object:
    from fractions import Fraction

    numerator, denominator = _checked(data, int, int)
    if max(numerator.bit_length(), denominator.bit_length()) > _MAX_FRACTION_BITS:
        raise ValueError("too many digits")
    return Fraction(numerator, denominator)


def _checked_zone(zone: Any) -> Any:
    from datetime import tzinfo

    if zone is not None and not isinstance(zone, tzinfo):
        raise TypeError("a zone expected")
    return zone


def _rebuild_datetime(_: object, data: Any) -> object:
    from datetime import datetime

    *numbers, fold, zone = data
    zone = _checked_zone(zone)
    year, month, day, hour, minute, second, microsecond = _checked(numbers, *(int,) * 7)
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _rebuild_date(_: object, data: Any) -> object:
    from datetime import date

    return date(*_checked(data, int, int, int))


def _rebuild_time(_: object, data: Any) -> object:
    from datetime import time

    *numbers, fold, zone = data
    hour, minute, second, microsecond = _checked(numbers, *(int,) * 4)
    return time(hour, minute, second, microsecond, tzinfo=_checked_zone(zone), fold=fold)


def _rebuild_timedelta(_: object, data: Any) -> object:
    from datetime import timedelta

    return timedelta(*_checked(data, int, int, int))


def _rebuild_timezone(_: object, data: Any) -> object:
    from datetime import timedelta, timezone

    return timezone(*_checked(data, *(timedelta, str)[: len(data)]))


def _is_zone_name(key: str) -> bool:
    """Tell whether a text can be the key of a zone: no dots, no empty parts, no odd letters."""
    letters = key.replace("/", "a").replace("-", "a").replace("+", "a").replace("_", "a")
    return (
        len(key) <= _MAX_ZONE_CHARACTERS
        and letters.isascii()
        and letters.isalnum()
        and all(key.split("/"))
    )


def _rebuild_zone(_: object, data: Any) -> object:
    import os
    import zoneinfo

    if type(data) is not str or not _is_zone_name(data):
        raise ValueError("not the key of a zone")
    # Looked for here first: zoneinfo would import a package because of the name.
    places = (os.path.join(place, *data.split("/")) for place in zoneinfo.TZPATH)
    if not any(map(os.path.isfile, places)) and data not in _all_zones():
        raise SerializeError(
            f"the time zone {data!r} is not known in this process; install the tzdata package, "
            "or send times with a fixed offset"
        )
    return zoneinfo.ZoneInfo(data)


_zones: set[str] | None = None


def _all_zones() -> set[str]:
    global _zones
    if _zones is None:
        import zoneinfo

        _zones = zoneinfo.available_timezones()
    return _zones


def _rebuild_uuid(_: object, data: Any) -> object:
    from uuid import UUID

    if type(data) is not str or len(data) != 32:
        raise ValueError("32 hex digits expected")
    return UUID(int=int(data, 16))


def _rebuild_path(_: object, data: Any) -> object:
    import pathlib

    kind, text = _checked(data, str, str)
    classes = {
        "path": pathlib.Path,
        "posix": pathlib.PurePosixPath,
        "windows": pathlib.PureWindowsPath,
    }
    return classes[kind](text)


def _rebuild_array(_: object, data: Any) -> object:
    from array import array
    from sys import byteorder

    if len(data) == 2:
        code, text = _checked(data, str, str)
        if code not in {"u", "w"}:
            raise ValueError("not an array of texts")
        return array(code, text)
    code, size_bytes, order, content = _checked(data, str, int, str, bytes)
    if code in {"u", "w"} or order not in {"little", "big"}:
        raise ValueError("not an array of numbers")
    made = array(code)
    if made.itemsize != size_bytes:
        raise ValueError(f"items of type {code!r} have {made.itemsize} bytes here")
    made.frombytes(content)
    if order != byteorder:
        made.byteswap()
    return made


def _rebuild_ip(_: object, data: Any) -> object:
    import ipaddress

    name, text = _checked(data, str, str)
    if name not in _IP_CLASSES:
        raise ValueError("not a class of ipaddress")
    return getattr(ipaddress, name)(text)


rebuilders_of_library: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "Decimal": (_rebuild_decimal, 110),
    "Fraction": (_rebuild_fraction, 110),
    "datetime": (_rebuild_datetime, 48),
    "date": (_rebuild_date, 32),
    "time": (_rebuild_time, 48),
    "timedelta": (_rebuild_timedelta, 40),
    "timezone": (_rebuild_timezone, 40),
    "zone": (_rebuild_zone, 100),
    "UUID": (_rebuild_uuid, 100),
    "path": (_rebuild_path, 500),
    "array": (_rebuild_array, 80),
    "ip": (_rebuild_ip, 200),
}
"""Tag -> how to rebuild (the first argument is not used), and the memory that one takes."""
