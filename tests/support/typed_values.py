"""Values, classes and a comparison for the tests of the typed forms."""

# ruff: noqa: E501 - tables read best with several values on a line

from __future__ import annotations

import array
import datetime as dt
import enum
import ipaddress
import math
import pathlib
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage

NAMES = ["serpent", "json", "marshal", "msgpack"]


def typed(name, references=None, classes_for=None):
    return table.get(name).for_connection(PeerImage(), references, classes_for)


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    ALIAS = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    HELLO = "hello"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


@dataclass
class Customer:
    name: str
    tags: set = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    customer: Customer | None = None
    color: Color = Color.RED


@dataclass
class Strict:
    """Whose __post_init__ must not run again."""

    value: int
    doubled: int = field(init=False)
    ran = 0

    def __post_init__(self):
        type(self).ran += 1
        self.doubled = 2 * self.value


class Point(NamedTuple):
    x: int
    y: object = 0


Pair = namedtuple("Pair", "left right")
CLASSES = [Color, Level, Word, Access, Bits, Customer, Order, Strict, Point]

SAMPLES = [
    None, True, 1, -(2**63) - 1, 2**64, 2**70, 1.5, math.inf, -math.inf, math.nan, -0.0, 3j, complex(-0.0, math.inf),
    complex(math.nan, -0.0), "", "text", "\ud83d", "\ud83d\ude00", "a\0b", b"", b"\0\xff", bytearray(), bytearray(b"ab"),
    (), (1,), (1, (2, [3, bytearray(b"x")])), [], [bytearray(b"q"), b"q"], set(), {1, (2, "3")}, frozenset(),
    frozenset({1, (2,), frozenset({3})}), {}, {1: 2, "1": 3, None: 4, (1, 2): 5, 1.5: 6, b"a": 7, frozenset([1]): 8},
    {"__class__": "X"}, {"__class__": "float", "value": "1"}, {"@": 1}, {"@": "set", "v": []}, {"@": "set", "v": [], "x": 1},
    {"data": "YQ==", "encoding": "base64"}, (..., "set", [1]), [..., "set", [1]], ..., [...], {...: 1}, {"k": (...,)},
    OrderedDict([(2, 1), (1, (2,))]), OrderedDict(), defaultdict(list, {1: [2]}), defaultdict(None, {(1,): {2}}),
    Counter("abca"), deque([1, (2,)], 5), deque(), range(1, 10, 2), range(10**30), slice(1, None, "x"),
    Decimal("1.50"), Decimal("sNaN12"), Decimal("-0E+5"), Decimal("-Infinity"), Decimal("1E+999999"), Fraction(-1, 3),
    dt.datetime(2024, 2, 29, 23, 59, 59, 999999, dt.UTC).replace(tzinfo=None), dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3, seconds=1), "odd")), dt.date(1, 1, 1),
    dt.time(1, 2, 3, 4), dt.time(0, tzinfo=dt.UTC, fold=1), dt.time(5, tzinfo=zoneinfo.ZoneInfo("UTC")),
    dt.timedelta(-1, 5, 7), dt.timedelta.max, dt.UTC, zoneinfo.ZoneInfo("America/New_York"),
    uuid.UUID(int=5), pathlib.Path("a/b"), pathlib.PurePosixPath("/x/../y"), pathlib.PureWindowsPath(r"c:\x\y"),
    array.array("d", [1.5, math.inf]), array.array("b"), array.array("Q", [2**64 - 1]),
    ipaddress.ip_address("::1%eth0"), ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_interface("::1/64"),
]  # fmt: skip


def same(left, right):
    """Tell whether two values are equal in type and value, down to nan and signs of zeros."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple | deque):
        return (
            len(left) == len(right)
            and all(map(same, left, right))
            and getattr(left, "maxlen", 0) == getattr(right, "maxlen", 0)
        )
    if isinstance(left, dict):
        return (
            same(list(left), list(right))
            and same(list(left.values()), list(right.values()))
            and getattr(left, "default_factory", 0) == getattr(right, "default_factory", 0)
        )
    if isinstance(left, set | frozenset):
        return left == right and sorted(map(repr, map(type, left))) == sorted(
            map(repr, map(type, right))
        )
    if isinstance(left, dt.datetime | dt.time | float | complex | Decimal):
        return repr(left) == repr(right)
    if isinstance(left, slice):
        return same([left.start, left.stop, left.step], [right.start, right.stop, right.step])
    if is_dataclass(left):
        return all(
            same(getattr(left, entry.name), getattr(right, entry.name)) for entry in fields(left)
        )
    if isinstance(left, array.array):
        return (left.typecode, left.tobytes()) == (right.typecode, right.tobytes())
    return left == right
