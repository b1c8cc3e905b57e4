"""pickle, cloudpickle and dill: what goes how, and what the errors say."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import enum
import sys
import threading

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import SerializeError
from pyroipc.serializers import pickle as pickle_module
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage
from pyroipc.serializers.main_names import image_identity, peer_image
from pyroipc.serializers.pickle import (
    CloudpickleSerializer,
    DillSerializer,
    PickleSerializer,
)
from tests.support.snippets import run_python

FAMILY = ["pickle", "cloudpickle", "dill"]


@pytest.fixture(params=FAMILY)
def serializer(request):
    return table.get(request.param)


class Colour(enum.Enum):
    RED = 1


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


class WithState:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return type(other) is type(self) and other.value == self.value

    __hash__ = None


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False), st.decimals(allow_nan=False), st.datetimes(),
    st.sampled_from([Colour.RED, Point(1, 2), WithState(3), len, WithState]),
)  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(), inner)
    ),
    max_leaves=10,
)


def test_names_ids_and_trust():
    found = [(table.get(name).name, table.get(name).id, table.get(name).trust) for name in FAMILY]
    assert found == [("pickle", 16, "code"), ("cloudpickle", 17, "code"), ("dill", 18, "code")]


@given(VALUES, st.sampled_from([bytes, bytearray, memoryview]))
def test_values_round_trip(value, kind):
    serializer = PickleSerializer()
    back = serializer.loads(kind(serializer.dumps(value)))
    assert back == value
    assert type(back) is type(value)


@given(st.text(), st.text(), st.lists(VALUES), st.none() | st.dictionaries(st.text(), VALUES))
def test_calls_round_trip(object_id, member, args, kwargs):
    serializer = PickleSerializer()
    data = serializer.dumps_call(object_id, member, tuple(args), kwargs)
    assert serializer.loads_call(memoryview(data)) == (object_id, member, tuple(args), kwargs)


def test_rich_values_round_trip_in_the_whole_family(serializer):
    values = [
        Colour.RED, Point(1, 2), WithState([1]), {1, 2}, frozenset({3}), b"x", bytearray(b"y"),
        decimal.Decimal("1.10"), datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), range(3), ...,
    ]  # fmt: skip
    assert serializer.loads(serializer.dumps(values)) == values
    call = ("calc", "add", (1, [2]), {"x": WithState(4)})
    assert serializer.loads_call(bytearray(serializer.dumps_call(*call))) == call


def test_lambdas_and_closures_go_by_themselves(serializer):
    base = 10

    def add(x):
        return x + base

    functions = serializer.loads(serializer.dumps([lambda x: x * 3, add]))
    assert [function(2) for function in functions] == [6, 12]
    _, _, (function,), _ = serializer.loads_call(serializer.dumps_call("o", "m", (add,), None))
    assert function(5) == 15


@pytest.mark.parametrize("name", ["pickle", "cloudpickle"])
def test_a_local_class_comes_home_as_itself(name):
    class Local:
        kind = frozenset({"its own"})

        def me(self):
            return __class__

    kind = Local.kind
    serializer = table.get(name)
    back = serializer.loads(serializer.dumps(Local()))
    assert type(back) is Local
    assert back.me() is Local
    assert Local.kind is kind


def test_classes_that_refer_to_each_other_travel_to_a_fresh_interpreter():
    class First:
        def other(self):
            return Second()

    class Second(First):
        def other(self):
            return super().other(), First

    class Shade(enum.Enum):
        DARK = 1

    data = PickleSerializer().dumps([First(), Second(), Shade.DARK])
    finished = run_python(f"""
        from pyroipc.serializers.pickle import PickleSerializer
        serializer = PickleSerializer()
        for _ in range(2):
            first, second, shade = serializer.loads({data!r})
            assert type(first.other()) is type(second)
            assert type(second.other()[0]) is type(second)
            assert second.other()[1] is type(first)
            assert shade is type(shade).DARK
    """)
    assert finished.returncode == 0, finished.stderr


def test_plain_values_need_neither_cloudpickle_nor_the_python_half_of_pickle():
    finished = run_python("""
        import sys
        from pyroipc.serializers import table
        serializer = table.get("pickle")
        serializer.loads_call(serializer.dumps_call("o", "m", (1, "x", {"y": [2.0]}), None))
        print(sorted({"cloudpickle", "pickle", "re", "typing", "dill"} & set(sys.modules)))
    """)
    assert finished.stdout == "[]\n", finished


def test_the_name_of_the_main_module_in_data_changes_nothing(serializer):
    for value in ["__main__", b"__mp_main__", ["__main__", {"__main__": "_main__"}]]:
        assert serializer.loads(serializer.dumps(value)) == value


def test_large_values_with_the_name_of_the_main_module_are_left_alone():
    block = b"__main__" * 200_000
    serializer = PickleSerializer()
    assert serializer.loads(serializer.dumps(block)) == block
    call = ("o", "m", (block, [1]), {"x": block})
    assert serializer.loads_call(serializer.dumps_call(*call)) == call


def test_large_arrays_round_trip_and_are_not_searched(monkeypatch):
    serializer = PickleSerializer()
    numbers = numpy.full(400_000, 7)
    objects = numpy.array(["__main__", None] * 400_000, dtype=object)
    searched = []
    search = pickle_module.may_name_main
    monkeypatch.setattr(
        pickle_module,
        "may_name_main",
        lambda *args: searched.append(search(*args)) or searched[-1],
    )
    for array in (numbers, objects):
        _, _, (back, _), _ = serializer.loads_call(
            serializer.dumps_call("o", "m", (array, "x"), None)
        )
        assert (back == array).all()
    assert searched == [False, True]


def test_a_class_of_main_beside_a_large_block_is_noticed():
    finished = run_python("""
        from pyroipc.serializers.pickle import PickleSerializer
        class Mine:
            pass
        block = bytes(3_000_000)
        serializer = PickleSerializer()
        for value in [[block, Mine()], (Mine(),) * 2 + (block,)]:
            data = serializer.dumps_call("o", "m", value, None)
            assert b"_make_skeleton_class" in data
        assert b"_make_skeleton_class" in serializer.dumps_call("o", "m", (block,), {"x": Mine()})
        assert b"_make_skeleton_class" in serializer.dumps([block, Mine])
        assert b"_make_skeleton_class" not in serializer.dumps(block)
    """)
    assert finished.returncode == 0, finished.stderr


def test_for_connection_gives_a_serializer_of_the_same_kind(serializer):
    tuned = serializer.for_connection(peer_image(image_identity()))
    assert type(tuned) is type(serializer)
    assert tuned.loads(tuned.dumps([WithState(1)])) == [WithState(1)]
    assert serializer.for_connection(PeerImage()).id == serializer.id


# ---------------------------------------------------------------------------------------- errors


class Unwilling:
    def __reduce__(self):
        raise ValueError("I will not go")


class Quitter:
    def __reduce__(self):
        raise SystemExit("over")


class Mumbler(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Mute:
    def __reduce__(self):
        raise Mumbler


def quit_program():
    raise SystemExit(3)


class QuitsOnArrival:
    def __reduce__(self):
        return quit_program, ()


UNSENDABLE = [
    (Unwilling(), "I will not go"),
    (Quitter(), "over"),
    (Mute(), "Mumbler"),
    ((i for i in range(3)), "generator"),
]
DILL_CAN = [(threading.Lock(), "_thread.lock"), (sys._getframe(), "frame")]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        *((name, *case) for name in FAMILY for case in UNSENDABLE),
        *((name, *case) for name in ("pickle", "cloudpickle") for case in DILL_CAN),
    ],
)
def test_what_cannot_be_sent_is_named(name, value, says):
    serializer = table.get(name)
    with pytest.raises(SerializeError) as caught:
        serializer.dumps([1, {"deep": value}])
    assert says in str(caught.value)
    assert type(value).__qualname__ in str(caught.value)
    assert "[1]['deep']" in str(caught.value)
    with pytest.raises(SerializeError, match=r"argument 1\.value"):
        serializer.dumps_call("o", "m", (0, WithState(value)), None)
    with pytest.raises(SerializeError, match="argument 'x'"):
        serializer.dumps_call("o", "m", (), {"x": value})


def test_what_is_nested_too_deeply_is_refused_quickly(serializer):
    value = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(SerializeError, match="nested too deeply"):
        serializer.dumps(value)
    with pytest.raises(SerializeError, match=r"argument 1\).*nested too deeply"):
        serializer.dumps_call("o", "m", (0, value), None)
    while value:  # freed by hand: CPython's own way down is long
        value = value.pop()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"garbage", b"\x80", b"\x80\x05", b"(", b"R.",
        b"cos\nnothing_of_that_name\n.", b"cnowhere\nx\n.",
        b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx",
    ],
)  # fmt: skip
def test_bad_bytes_are_a_serialize_error(serializer, data):
    for load in (serializer.loads, serializer.loads_call):
        with pytest.raises(SerializeError):
            load(data)


def test_a_value_that_is_not_a_call_is_a_serialize_error(serializer):
    for value in (1, None, (1, 2), [1, 2, 3, 4, 5], "x", "four", (1, "m", (), None),
                  ("o", 2, (), None), ("o", "m", 3, None), ("o", "m", (), 4)):  # fmt: skip
        with pytest.raises(SerializeError):
            serializer.loads_call(serializer.dumps(value))


def test_a_missing_class_says_what_to_do():
    with pytest.raises(SerializeError, match="does not exist in this process") as caught:
        PickleSerializer().loads(b"ccollections\nNoSuchThing\n.")
    assert "NoSuchThing" in str(caught.value)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_loading_never_ends_the_process(serializer):
    with pytest.raises(SerializeError, match="SystemExit"):
        serializer.loads(serializer.dumps(QuitsOnArrival()))


@given(st.binary(max_size=60))
def test_random_bytes_give_a_value_or_a_serialize_error(data):
    # No opcodes that call anything: these bytes must not run code of their own.
    data = bytes(byte for byte in data if byte not in b"cioR\x81\x92\x93b\x82\x83\x84")
    with contextlib.suppress(SerializeError):
        PickleSerializer().loads(data)


def test_without_cloudpickle_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyroipc.serializers.by_value", raising=False)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(SerializeError, match="pip install cloudpickle"):
        PickleSerializer().dumps(lambda: 0)


def test_classes_of_the_module_are_what_the_table_names():
    assert {type(table.get(name)) for name in FAMILY} == {
        PickleSerializer, CloudpickleSerializer, DillSerializer,
    }  # fmt: skip


def test_plain_values_and_calls_take_one_frame_each():
    serializer = PickleSerializer()
    data, call = serializer.dumps([1]), serializer.dumps_call("o", "m", (1, "x"), None)
    frames = []

    def count(frame, event, _):
        if event == "call":
            frames.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        serializer.dumps([1])
        serializer.loads(data)
        serializer.dumps_call("o", "m", (1, "x"), None)
        serializer.loads_call(call)
    finally:
        sys.setprofile(None)
    assert frames == ["dumps", "loads", "dumps_call", "loads_call"]


def test_threads_share_one_serializer():
    serializer = PickleSerializer()
    failures = []

    def work(number):
        class Local:
            value = number

        for _ in range(20):
            back = serializer.loads(serializer.dumps([Local(), number]))
            if type(back[0]) is not Local or back[1] != number:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
