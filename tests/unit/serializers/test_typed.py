"""The typed forms: what is sent is what arrives, or fails at the sender with the path to it."""

# ruff: noqa: E501 - tables read best with several values on a line

from __future__ import annotations

import collections
import datetime as dt
import functools
import socket
import subprocess
import sys
import threading
import types

import pytest

from pyroipc.errors import NamingError, SerializeError
from pyroipc.serializers import classes, table
from tests.support.typed_values import NAMES, SAMPLES, same, typed


@pytest.fixture(params=NAMES)
def serializer(request):
    return typed(request.param)


def travel(serializer, value):
    back = serializer.loads(serializer.dumps(value))
    call = serializer.loads_call(serializer.dumps_call("o", "m", (value, 1), {"k": value}))
    assert (call[0], call[1], len(call[2]), list(call[3])) == ("o", "m", 2, ["k"])
    assert same(call[2][0], back)
    assert same(call[3]["k"], back)
    return back


@pytest.mark.parametrize(
    "value", SAMPLES, ids=[f"{i}-{type(value).__name__}" for i, value in enumerate(SAMPLES)]
)
def test_what_is_sent_is_what_arrives(serializer, value):
    for wrapped in (value, [value], (value, 1), {"k": value}, {"@": [value]}, [[value], 5]):
        back = travel(serializer, wrapped)
        assert same(back, wrapped), (back, wrapped)


def test_all_in_one(serializer):
    assert same(travel(serializer, SAMPLES), SAMPLES)


def test_hashable_values_are_keys_and_elements(serializer):
    hashable = []
    for value in SAMPLES:
        try:
            hash(value)
        except (TypeError, ValueError):
            continue
        if value == value and not isinstance(value, slice):
            hashable.append(value)
    keys = dict.fromkeys(hashable, 1)
    assert same(travel(serializer, keys), keys)
    assert travel(serializer, set(keys)) == set(keys)
    many = {(number, str(number)): number for number in range(3000)}
    assert travel(serializer, many) == many
    assert travel(serializer, set(many)) == set(many)


@pytest.mark.parametrize("digits", [600, 700, 4299, 4301, 50_000])
def test_ints_of_any_size(serializer, digits):
    number = 10**digits
    for value in (number, -number, [1, number], [number] * 20, {number: number}, (number,)):
        assert serializer.loads(serializer.dumps(value)) == value


def test_a_sender_without_a_limit_of_digits_is_understood(serializer):
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        payload = serializer.dumps([10**5000] * 20)
    finally:
        sys.set_int_max_str_digits(before)
    assert serializer.loads(payload) == [10**5000] * 20


def test_memoryviews_arrive_as_what_they_hold(serializer):
    back = travel(serializer, [memoryview(b"abcd")[::2], memoryview(bytearray(b"x"))])
    assert same(back, [b"ac", bytearray(b"x")])  # the latter is writable
    assert same(travel(serializer, memoryview(b"ab")), b"ab")


def test_other_zones_arrive_as_a_fixed_offset(serializer):
    class Odd(dt.tzinfo):
        def utcoffset(self, when):
            return None if when is None else dt.timedelta(hours=2)

    when = dt.datetime(2024, 1, 1, tzinfo=Odd())
    back = travel(serializer, when)
    assert back.tzinfo == dt.timezone(dt.timedelta(hours=2))
    assert back.replace(tzinfo=None) == when.replace(tzinfo=None)
    with pytest.raises(SerializeError, match="no offset"):
        serializer.dumps([dt.time(1, tzinfo=Odd())])


class Int(int):
    pass


class List(list):
    pass


class Slotted:
    __slots__ = ("part",)

    def __init__(self, part):
        self.part = part


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def generator():
    yield


NEVER = {
    "function": generator, "lambda": lambda: 1, "module": sys, "class": int, "own class": Plain, "print": print,
    "generator": generator(), "lock": threading.Lock(), "method": Plain().__init__, "partial": functools.partial(int),
    "object": object(), "int subclass": Int(5), "list subclass": List([1]), "struct": sys.version_info,
    "keys": {}.keys(), "code": types.SimpleNamespace(code=generator.__code__.replace), "property": property(),
    "own dict": types.new_class("D", (dict,))({1: 2}), "bytes subclass": types.new_class("B", (bytes,))(b"x"),
    "float subclass": types.new_class("F", (float,))(1), "str subclass": types.new_class("S", (str,))("x"),
    "factory": collections.defaultdict(lambda: 0), "map": map(int, []),
}  # fmt: skip


@pytest.mark.parametrize("kind", NEVER)
def test_what_can_never_be_rebuilt_fails_at_the_sender(serializer, kind):
    for value in (NEVER[kind], [NEVER[kind]], {"a": (1, NEVER[kind])}):
        with pytest.raises(SerializeError, match="cannot send an object of type"):
            serializer.dumps(value)
        with pytest.raises(SerializeError, match="argument 1"):
            serializer.dumps_call("o", "m", (1, value), None)


def test_sockets_and_files_fail_at_the_sender(serializer):
    with socket.socket() as sock, open(__file__) as file:
        for value in (sock, file, threading.current_thread()):
            with pytest.raises(SerializeError, match=r"at argument 0\[1\]"):
                serializer.dumps_call("o", "m", ([1, value],), {})


PATHS = [
    ({"orders": [1, 2, 3, Plain(customer=print)]}, "argument 0['orders'][3].customer"),
    (print, "argument 0"),
    (({1: [print]},), "argument 0[0][1][0]"),
    (Slotted([print]), "argument 0.part[0]"),
    ({(1, print): 2}, "argument 0 (key ...)[1]"),
    ({(1, 2): print}, "argument 0[...]"),
    (frozenset([print]), "argument 0{...}"),
    (collections.deque([1, print]), "argument 0[1]"),
    ({"x" * 100: print}, f"argument 0['{'x' * 39}...]"),
    (ValueError(1, print), "argument 0.args[1]"),
    (ExceptionGroup("g", [ValueError(print)]), "argument 0.exceptions[0].args[0]"),
    ([0] * 5000 + [[print]], "argument 0[5000][0]"),
]


@pytest.mark.parametrize(("value", "path"), PATHS, ids=[path for _, path in PATHS])
def test_the_error_names_the_path(serializer, value, path):
    with pytest.raises(SerializeError) as caught:
        serializer.dumps_call("o", "m", (value,), None)
    assert f"builtin_function_or_method (at {path}) with {serializer.name}: " in str(caught.value)
    with pytest.raises(SerializeError) as caught:
        serializer.dumps_call("o", "m", (1,), {"key": value})
    assert path.replace("argument 0", "argument 'key'") in str(caught.value)


def test_what_is_nested_too_deep_or_contains_itself_fails_at_the_sender(serializer):
    cycle = {}
    cycle["self"] = (cycle,)
    if serializer.name == "marshal":  # it can do that
        back = serializer.loads(serializer.dumps(cycle))
        assert back["self"][0] is back
    else:
        with pytest.raises(SerializeError):
            serializer.loads(serializer.dumps(cycle))
    nodes = [Plain()]
    nodes[0].me = nodes
    with pytest.raises(SerializeError):
        serializer.dumps(nodes)
    deep = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(SerializeError):
        serializer.dumps(deep)


def test_a_list_that_is_in_two_places(serializer):
    shared = [1, (2,)]
    assert travel(serializer, [shared, shared, (shared,)]) == [shared, shared, (shared,)]


def test_nothing_that_is_sent_is_changed(serializer):
    value = {"a": [1, bytearray(b"x"), (2, {3})], "@": {5: [bytearray()]}}
    before = repr(value)
    serializer.dumps(value)
    serializer.dumps_call("o", "m", (value,), value)
    assert repr(value) == before


# ------------------------------------------------------------------------------- converters


def test_registered_converters(serializer):
    classes.register_class_to_dict(
        Plain, lambda obj: {"__class__": "a.Plain", "inner": (obj.part, {1: b"x"})}
    )
    try:
        payload = serializer.dumps([Plain(part={2})])
        with pytest.raises(SerializeError, match=r"a\.Plain"):
            serializer.loads(payload)
        classes.register_dict_to_class("a.Plain", lambda name, data: (name, data["inner"]))
        assert same(serializer.loads(payload), [("a.Plain", ({2}, {1: b"x"}))])
    finally:
        classes.unregister_class_to_dict(Plain)
        classes.unregister_dict_to_class("a.Plain")


def test_converters_come_before_the_own_ways(serializer):
    classes.register_class_to_dict(dt.date, lambda date: {"year": date.year})
    try:
        assert travel(serializer, [dt.date(5, 1, 1), dt.datetime(6, 1, 1, tzinfo=dt.UTC)]) == [
            {"year": 5},
            {"year": 6},
        ]
    finally:
        classes.unregister_class_to_dict(dt.date)


def test_an_unknown_class_is_refused_by_the_receiver(serializer):
    for value in (Plain(a=1), Slotted(1)):
        with pytest.raises(SerializeError, match=type(value).__name__):
            serializer.loads(serializer.dumps([value]))


def test_a_converter_that_fails_is_named(serializer):
    def fail(obj):
        raise LookupError("no such thing")

    classes.register_class_to_dict(Plain, fail)
    try:
        with pytest.raises(SerializeError, match=r"Plain \(at argument 0\[0\]\).*no such thing"):
            serializer.dumps_call("o", "m", ([Plain()],), None)
    finally:
        classes.unregister_class_to_dict(Plain)


# ------------------------------------------------------------------------------- references


class Table:
    """References to instances of Slotted, and a note of what was counted."""

    types = frozenset()

    def __init__(self):
        self.count = 0

    def encode(self, value):
        assert type(value) not in {int, str, list, tuple, dict, set, bytes, bytearray}
        if isinstance(value, Slotted):
            self.count += 1
            return ["slotted", value.part, None]
        return None

    def decode(self, data):
        if data[1] == "gone":
            raise NamingError("it is gone")
        return Slotted(f"here {data[1]}")

    def withdraw(self, data):
        self.count -= 1

    def why_not_carried(self):
        return "this is a test"

    def begin_to_carry(self):
        raise AssertionError

    def lend(self, passenger):
        return None


@pytest.mark.parametrize("name", NAMES)
def test_references(name):
    references = Table()
    serializer = typed(name, references)
    value = [Slotted("a"), {"k": (Slotted("b"), {1})}, bytearray(b"x"), "\ud800", 10**5000]
    first, second, *others = serializer.loads(serializer.dumps(value))
    assert (first.part, second["k"][0].part, second["k"][1]) == ("here a", "here b", {1})
    assert same(others, value[2:])
    assert references.count == 2
    with pytest.raises(NamingError, match="it is gone"):
        serializer.loads(serializer.dumps([Slotted("gone")]))
    with pytest.raises(SerializeError, match="no references"):
        typed(name).loads(serializer.dumps(Slotted("x")))


@pytest.mark.parametrize("name", NAMES)
def test_what_fails_is_not_counted(name):
    references = Table()
    serializer = typed(name, references)
    with pytest.raises(SerializeError, match="argument 1"):
        serializer.dumps_call("o", "m", (Slotted("a"), print), None)
    assert references.count == 0


class SpecialError(SerializeError):
    pass


@pytest.mark.parametrize("name", NAMES)
def test_special_errors_of_references_come_through(name):
    references = Table()

    def fail(value):
        raise SpecialError("special")

    references.encode = fail
    with pytest.raises(SpecialError, match="special"):
        typed(name, references).dumps_call("o", "m", (Slotted(1),), None)


# ------------------------------------------------------------------------------- what is loaded


def test_no_module_is_loaded_before_a_value_of_it_arrives():
    script = (
        "import sys; before = set(sys.modules)\n"
        "from pyroipc.serializers import table; from pyroipc.serializers.base import PeerImage\n"
        "for name in ('serpent', 'json', 'marshal', 'msgpack'):\n"
        "    library = {'serpent': 'serpent', 'msgpack': 'msgpack'}.get(name)\n"
        "    if library: __import__(library)\n"
        "before = set(sys.modules)\n"
        "for name in ('serpent', 'json', 'marshal', 'msgpack'):\n"
        "    s = table.get(name).for_connection(PeerImage())\n"
        "    s.loads(s.dumps([1, (2, b'x', {3: 4})]))\n"
        "print(sorted({'decimal', 'fractions', 'pathlib', 'uuid', 'zoneinfo', 'ipaddress',"
        " 'dataclasses', 'typing', 'inspect', 'logging'} & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_pickle_loads_nothing_of_the_typed_forms():
    script = (
        "import sys\nfrom pyroipc.serializers import table\n"
        "table.get('pickle').dumps([1])\n"
        "print([name for name in sys.modules if 'typed' in name or 'culprits' in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_typed_form_is_the_same_kind(serializer):
    plain = table.get(serializer.name)
    assert (serializer.id, serializer.trust) == (plain.id, plain.trust)
    assert (serializer.is_typed, plain.is_typed) == (True, False)
