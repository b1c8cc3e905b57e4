"""Dataclasses, enums and namedtuples: which arrive as themselves, and what is refused."""

# ruff: noqa: E501 - tables read best with several values on a line

from __future__ import annotations

import collections
import enum
import functools
from dataclasses import dataclass

import pytest

import tests.support.typed_values as samples
from pyroipc.errors import SerializeError
from pyroipc.serializers import typed_classes
from pyroipc.serializers.typed_classes import register_class, unregister_class
from tests.support.typed_values import (
    CLASSES,
    NAMES,
    Access,
    Bits,
    Color,
    Customer,
    Level,
    Order,
    Pair,
    Point,
    Strict,
    Word,
    same,
    typed,
)

VALUES = [
    Color.RED, Color.ALIAS, Color.BLUE, Level.LOW, Word.HELLO, Access.READ, Access.READ | Access.WRITE, Access(0), Bits.ONE,
    Bits(3), Bits(64), Customer("a", {1, (2,)}), Order(1), Order(2, Customer("b"), Color.BLUE), Strict(4), Point(1, b"x"),
    Point(1, (2,)), {Color.RED: Order(1)}, {Order(3): Level.LOW}, [Customer("c", {Access.READ})],
]  # fmt: skip


@pytest.fixture(params=NAMES)
def serializer(request):
    return typed(request.param)


@pytest.fixture
def registered():
    for cls in CLASSES:
        assert register_class(cls) is cls
    yield
    for cls in CLASSES:
        unregister_class(cls)


@pytest.mark.parametrize(
    "value", VALUES, ids=[f"{i}-{type(value).__name__}" for i, value in enumerate(VALUES)]
)
def test_registered_classes_arrive_as_themselves(serializer, registered, value):
    ran = Strict.ran
    back = serializer.loads(serializer.dumps(value))
    assert same(back, value)
    call = serializer.loads_call(serializer.dumps_call("o", "m", (value,), {"k": value}))
    assert same(call[2][0], value)
    assert same(call[3], {"k": value})
    assert Strict.ran == ran


@pytest.mark.parametrize(
    "value", VALUES[:-4], ids=[f"{i}-{type(v).__name__}" for i, v in enumerate(VALUES[:-4])]
)
def test_other_classes_are_refused_with_advice(serializer, value):
    if isinstance(value, Point):
        return
    # Of two unknown classes, any may be named.
    name = "(Order|Color|Customer)" if isinstance(value, Order) else type(value).__qualname__
    with pytest.raises(SerializeError, match=rf"{name}.*pyroipc\.register_class.*annotation"):
        serializer.loads(serializer.dumps([value]))
    with pytest.raises(SerializeError, match=name):
        serializer.loads_call(serializer.dumps_call("o", "m", (value,), None))


@pytest.mark.parametrize(
    "value", VALUES, ids=[f"{i}-{type(value).__name__}" for i, value in enumerate(VALUES)]
)
@pytest.mark.parametrize("name", NAMES)
def test_annotated_classes_arrive_as_arguments(name, value):
    asked = []

    def classes_for(object_id, member):
        asked.append((object_id, member))
        return {f"{cls.__module__}.{cls.__qualname__}": cls for cls in CLASSES}

    serializer = typed(name, classes_for=classes_for)
    for args in ((value,), (1, [value], value)):
        back = serializer.loads_call(serializer.dumps_call("it's", "m\n", args, {"k": value}))
        assert same(list(back[2]), list(args))
        assert same(back[3], {"k": value})
    assert set(asked) == {("it's", "m\n")}
    count = len(asked)
    assert count in {2, 4}  # msgpack reads twice what has other keys than texts
    serializer.loads_call(serializer.dumps_call("o", "m", (1, (2,), {3}), None))
    assert len(asked) == count
    if not isinstance(value, Point | dict | list):
        with pytest.raises(SerializeError, match="register_class"):
            serializer.loads(serializer.dumps(value))  # a result: no annotation speaks for it


def test_a_registered_class_needs_no_annotation():
    def classes_for(object_id, member):
        raise AssertionError

    register_class(Color)
    try:
        serializer = typed("serpent", classes_for=classes_for)
        call = serializer.loads_call(serializer.dumps_call("o", "m", (Color.RED,), None))
        assert call[2][0] is Color.RED
    finally:
        unregister_class(Color)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"object":"a","method":"m","params":[{"@":"enum","v":["%b.Color","RED"]}],"kwargs":null,'
        b'"object":"b"}',
    ],
)
def test_a_call_that_names_two_objects_is_refused(payload):
    name = Color.__module__
    given = []

    def classes_for(object_id, member):
        given.append(object_id)
        return {f"{name}.Color": Color}

    with pytest.raises(SerializeError):
        # The head is read as a whole too, so both times the last name counts.
        serializer = typed("json", classes_for=classes_for)
        call = serializer.loads_call(payload % name.encode())
        assert given == [call[0]]
        raise SerializeError("consistent")


def test_a_name_of_ones_own(serializer):
    @dataclass
    class Local:
        a: int

    register_class(Local, "app.Local")
    try:
        payload = serializer.dumps(Local(1))
        assert b"app.Local" in payload
        assert b"<locals>" not in payload
        assert same(serializer.loads(payload), Local(1))
    finally:
        unregister_class(Local)
    with pytest.raises(SerializeError, match=r"app\.Local"):
        serializer.loads(payload)


def test_as_a_decorator():
    @register_class
    class First(enum.Enum):
        A = 1

    @register_class(name="second")
    @dataclass
    class Second:
        a: object

    try:
        serializer = typed("msgpack")
        assert same(serializer.loads(serializer.dumps(Second(First.A))), Second(First.A))
    finally:
        unregister_class(First)
        unregister_class(Second)
    unregister_class(Second)  # unknown: ignored


def test_main_and_registering_again():
    @dataclass
    class Order:
        a: int

    @dataclass
    class Other:
        a: int

    Order.__module__, Order.__qualname__ = "__main__", "Order"
    serializer = typed("serpent")
    register_class(Order)
    try:
        assert same(serializer.loads(serializer.dumps(Order(1))), Order(1))
        payload = serializer.dumps(Order(2))
        register_class(Other, "__main__.Order")
        assert same(serializer.loads(payload), Other(2))
        unregister_class(Order)  # does not take the name from the other
        assert same(serializer.loads(payload), Other(2))
    finally:
        unregister_class(Other)
        unregister_class(Order)


@pytest.mark.parametrize("cls", [int, object, dict, 5, "x", Color.RED, tuple, Exception])
def test_only_such_classes_can_be_registered(cls):
    with pytest.raises(TypeError, match="register_class_to_dict"):
        register_class(cls)


@pytest.mark.parametrize("name", ["", "x" * 300, 5])
def test_names_are_checked(name):
    with pytest.raises(TypeError, match="name"):
        register_class(Color, name)


# ------------------------------------------------------------------------------- dataclasses


def test_fields_must_agree(serializer, registered, monkeypatch):
    payload = serializer.dumps(Customer("a"))

    @dataclass
    class Changed:
        name: str
        street: str

    register_class(Changed, f"{samples.__name__}.Customer")
    try:
        with pytest.raises(SerializeError, match=r"unknown: \['tags'\], missing: \['street'\]"):
            serializer.loads(payload)
    finally:
        unregister_class(Changed)


def test_what_is_not_a_field_fails_at_the_sender(serializer):
    customer = Customer("a")
    customer.extra = 1
    with pytest.raises(SerializeError, match=r"'extra' is not a field"):
        serializer.dumps(customer)
    del customer.extra
    del customer.tags
    with pytest.raises(SerializeError, match="has no value"):
        serializer.dumps(customer)


def test_cached_properties_are_left_behind():
    @dataclass
    class Area:
        side: int

        @functools.cached_property
        def square(self):
            return self.side**2

    register_class(Area, "Area")
    try:
        area = Area(3)
        assert area.square == 9
        back = typed("json").loads(typed("json").dumps(area))
        assert vars(back) == {"side": 3}
        assert back.square == 9
    finally:
        unregister_class(Area)


def test_a_dataclass_that_is_a_container_fails_at_the_sender(serializer):
    @dataclass
    class Weird(list):
        a: int = 0

    with pytest.raises(SerializeError, match="register a converter"):
        serializer.dumps(Weird())


def test_a_field_that_cannot_be_sent_is_named(serializer):
    with pytest.raises(SerializeError, match=r"builtin_function") as caught:
        serializer.dumps_call("o", "m", (Order(1, Customer("x", print)),), None)
    assert "argument 0.customer.tags" in str(caught.value)


# ------------------------------------------------------------------------------- namedtuples


def test_unknown_namedtuples_arrive_as_equals(serializer):
    pair = Pair((1,), {2: b"x"})
    back = serializer.loads(serializer.dumps(pair))
    assert back == pair
    assert isinstance(back, tuple)
    assert (type(back).__name__, back._fields) == ("Pair", ("left", "right"))
    assert back.left == (1,)
    again = serializer.loads(serializer.dumps([back]))[0]
    assert type(again) is type(back)
    register_class(Pair)
    try:
        assert same(serializer.loads(serializer.dumps(back)), pair)  # home again
    finally:
        unregister_class(Pair)


def test_a_namedtuple_does_not_run_its_new():
    class Checked(collections.namedtuple("Checked", "a")):
        def __new__(cls, a):
            raise AssertionError

    value = tuple.__new__(Checked, (1,))
    register_class(Checked, "Checked")
    try:
        back = typed("json").loads(typed("json").dumps(value))
        assert type(back) is Checked
    finally:
        unregister_class(Checked)
    value.more = 1
    with pytest.raises(SerializeError, match="besides its fields"):
        typed("json").dumps(value)


def forged(name, fields, values):
    text = f"(...,'namedtuple',[{name!r},{fields!r},{values!r}])"
    return typed("serpent").loads(text.encode())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a.b c", ["x"]), ("", ["x"]), ("T", ["x y"]), ("T", ["_x"]), ("T", ["class"]), ("T", ["x", "x"]), ("T", [1]),
        ("x" * 300, ["x"]), ("T", [f"f{number}" for number in range(300)]), ("T", ["x" * 300]), ("T.", ["x"]), ("class", ["x"]),
        ("T", ["x=__import__('os')"]), ("T\n", ["x"]), (5, ["x"]), (None, ["x"]), ("T", "x"),
    ],
)  # fmt: skip
def test_forged_namedtuples_are_refused(name, fields):
    with pytest.raises(SerializeError):
        forged(name, fields, [1] * len(fields))


def test_the_number_of_stand_ins_is_bounded():
    kinds = [f"(...,'namedtuple',['T{number}',['a'],[1]])" for number in range(100)]
    with pytest.raises(SerializeError, match="too many kinds"):
        typed("serpent").loads(("[" + ",".join(kinds) + "]").encode())
    for number in range(400):
        forged(f"Many{number}", ["a"], [1])
    assert len(typed_classes._stand_ins) <= typed_classes._MAX_STAND_INS


def test_a_registered_namedtuple_with_other_fields(registered):
    name = f"{Point.__module__}.Point"
    with pytest.raises(SerializeError, match="other fields"):
        forged(name, ["x", "z"], [1, 2])
    with pytest.raises(SerializeError, match="other fields"):
        forged(f"{Color.__module__}.Color", ["x"], [1])


# ------------------------------------------------------------------------------- enums


@pytest.mark.parametrize(
    "data",
    [
        "['%s.Color','NONE']", "['%s.Color',1]", "['%s.Color',None]", "['%s.Color',[]]", "['%s.Color','__class__']",
        "['%s.Customer','RED']", "['%s.Access',4.5]", "['%s.Access',1000]", "['%s.Bits',%d]", "[]", "'x'", "['%s.Color','RED',1]",
    ],
)  # fmt: skip
def test_forged_members_are_refused(registered, data):
    data = data.replace("%s", Color.__module__).replace("%d", str(1 << 400))
    with pytest.raises(SerializeError):
        typed("serpent").loads(f"(...,'enum',{data})".encode())


def test_combinations_of_flags_are_bounded(registered, monkeypatch):
    monkeypatch.setattr(typed_classes, "_MAX_FLAG_VALUES", len(Bits._value2member_map_) + 3)
    serializer = typed("msgpack")
    with pytest.raises(SerializeError, match="too many values"):
        for number in range(1000, 1010):
            serializer.loads(serializer.dumps(Bits.ONE)[:0] + _flag(number))


def _flag(number):
    import msgpack

    from pyroipc.serializers.typed import TAGS

    marker = msgpack.ExtType(0x54, bytes([TAGS.index("enum")]))
    return msgpack.packb([marker, [f"{Bits.__module__}.Bits", number]])


def test_forged_dataclasses_are_refused(registered):
    name = f"{Customer.__module__}.Customer"
    for data in (
        f"['{name}',{{'name':'a','tags':1,'__class__':2}}]",
        f"['{name}',{{'name':'a'}}]",
        f"['{name}',{{1:2}}]",
        f"['{name}',[1]]",
        f"['{Color.__module__}.Color',{{}}]",
        "['builtins.int',{}]",
        "[5,{}]",
        "[]",
    ):
        with pytest.raises(SerializeError):
            typed("serpent").loads(f"(...,'dataclass',{data})".encode())
