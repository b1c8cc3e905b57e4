"""Round trips of any value through the typed forms, and any bytes at all."""

# ruff: noqa: E501 - tables of strategies read best with a kind on a line

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import pathlib
import zoneinfo
from array import array
from collections import Counter, OrderedDict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers.typed import TAGS
from pyroipc.serializers.typed_classes import register_class, unregister_class
from tests.support.searching import examples
from tests.support.typed_values import NAMES, Access, Color, Customer, Order, Point, same, typed

offsets = st.timedeltas(min_value=-dt.timedelta(hours=23), max_value=dt.timedelta(hours=23))
zones = st.none() | offsets.map(dt.timezone) | st.sampled_from([
    zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Asia/Kathmandu"),
])  # fmt: skip
any_text = st.text(st.characters())
# CPython 3.11 reads the text of some paths as other paths (r"\\:\\"), and so does its own pickle.
windows_paths = st.from_regex(r"[a-z:\\/.]{0,9}", fullmatch=True).map(pathlib.PureWindowsPath).filter(
    lambda path: pathlib.PureWindowsPath(str(path)) == path
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), any_text, st.binary(), st.just(...),
    st.complex_numbers(), st.decimals(), st.fractions(), st.uuids(), st.dates(), st.timedeltas(),
    st.datetimes(timezones=zones), st.times(timezones=zones), st.integers(2**1990, 2**2100), offsets.map(dt.timezone),
    st.builds(range, st.integers(), st.integers(), st.integers(1)), st.ip_addresses(),
    st.from_regex(r"[a-z/.]{0,9}", fullmatch=True).map(pathlib.PurePosixPath),
    windows_paths,
    st.ip_addresses().map(ipaddress.ip_network), st.sampled_from([*Color, *Access, Access.READ | Access.WRITE]),
    st.builds(Order, st.integers(), st.none()),
)  # fmt: skip


def is_equal_to_itself(value):
    try:
        return value == value and hash(value) is not None
    except (ArithmeticError, TypeError):  # a signaling nan
        return False


keys = st.recursive(
    scalars.filter(is_equal_to_itself),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=5,
)
values = st.recursive(
    scalars | st.binary().map(bytearray) | st.lists(st.floats()).map(lambda items: array("d", items)),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.sets(keys, max_size=4), st.frozensets(keys, max_size=4),
        st.dictionaries(keys, inner, max_size=4), st.dictionaries(st.sampled_from(["@", "v", "__class__"]), inner),
        st.dictionaries(keys, inner, max_size=4).map(OrderedDict), st.lists(inner, max_size=4).map(deque),
        st.builds(slice, inner, inner, inner), st.builds(Customer, any_text, inner), st.builds(Point, inner, inner),
        st.lists(keys, max_size=5).map(Counter),
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _registered():
    for cls in (Color, Access, Order, Customer, Point):
        register_class(cls)
    yield
    for cls in (Color, Access, Order, Customer, Point):
        unregister_class(cls)


@pytest.mark.parametrize("name", NAMES)
@given(value=values)
@examples(250)
def test_what_is_sent_is_what_arrives(name, value):
    serializer = typed(name)
    back = serializer.loads(serializer.dumps(value))
    assert same(back, value)
    call = serializer.loads_call(serializer.dumps_call("o", "m", (value, 1), {"k": value, "@": 2}))
    assert same(call[2][0], value)
    assert same(call[3], {"k": value, "@": 2})


@pytest.mark.parametrize("name", NAMES)
@given(value=st.integers(0, 20_000).map(lambda digits: 10**digits))
@examples(30)
def test_any_int(name, value):
    serializer = typed(name)
    assert serializer.loads(serializer.dumps([value, -value])) == [value, -value]


@pytest.mark.parametrize("name", ["serpent", "json", "msgpack"])
@given(data=st.binary(max_size=300))
def test_any_bytes(name, data):
    serializer = typed(name, classes_for=lambda _object_id, _member: {})
    for load in (serializer.loads, serializer.loads_call):
        with contextlib.suppress(SerializeError, SecurityError):
            load(data)


anything = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(tag=st.sampled_from(TAGS), data=anything)
@examples(1000)
def test_any_data_under_any_tag(tag, data):
    serializer = typed("serpent")
    text = serializer.dumps(data).decode().partition("\n")[2]
    with contextlib.suppress(SerializeError, SecurityError):
        value = serializer.loads(f"(...,{tag!r},{text})".encode())
        with contextlib.suppress(ValueError):  # more digits than Python likes to show
            repr(value)
