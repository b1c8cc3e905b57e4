"""Exceptions through the typed forms: as the error of a call, and as values."""

# ruff: noqa: E501 - tables read best with several values on a line

from __future__ import annotations

import errno
import sys

import pytest

from pyroipc.errors import RemoteError, SecurityError, SerializeError
from pyroipc.protocol.remote_errors import RemoteTraceback, dump_error, load_error
from pyroipc.serializers.exceptions import register_exception, unregister_exception
from tests.support.typed_values import NAMES, Color, Customer, same, typed


@pytest.fixture(params=NAMES)
def serializer(request):
    return typed(request.param)


class OddInit(ValueError):
    def __init__(self, first, *, second):
        super().__init__(f"{first} and {second}")
        self.second = second

    def __str__(self):
        return f"odd: {self.second}"


class Slotted(Exception):
    __slots__ = ("where",)


class Group(ExceptionGroup):
    pass


def raised(exception):
    try:
        raise exception
    except BaseException as caught:
        return caught


def as_error(exception, serializer):
    return load_error(dump_error(raised(exception), serializer), serializer)


def as_value(exception, serializer):
    [back] = serializer.loads(serializer.dumps([exception]))
    return back


both = pytest.mark.parametrize("travel", [as_error, as_value])


@both
@pytest.mark.parametrize(
    "exception",
    [
        ValueError("boom", 5, (1, {2}), b"x"),
        KeyError(("a", 1)),
        OSError(errno.ENOENT, "no", "a.txt", None, "b.txt"),
        FileNotFoundError(2, "no", b"a.txt"),
        ImportError("x", name="n", path="p"),
        AttributeError("x", name="n", obj=sys),
        StopIteration((1, 2)),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
        SyntaxError("bad", ("f.py", 3, 2, "text")),
        ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError((2,))])]),
    ],
)
def test_known_classes_arrive_as_themselves(serializer, travel, exception):
    exception.extra = {1: (b"x", {2})}
    exception.__notes__ = ["noted"]
    back = travel(exception, serializer)
    assert type(back) is type(exception)
    assert str(back) == str(exception)
    assert back.__notes__ == ["noted"]
    assert same(back.extra, {1: (b"x", {2})})
    if not isinstance(exception, ExceptionGroup):
        assert same(back.args, exception.args)
    for name in ("filename", "filename2", "errno", "name", "path", "value", "object", "lineno"):
        assert getattr(back, name, None) == getattr(exception, name, None)


@both
def test_groups_keep_their_members(serializer, travel):
    inner = KeyError((2,))
    inner.add_note("in")
    group = ExceptionGroup(
        "g", [ValueError(1), ExceptionGroup("h", [inner, OddInit(1, second=2)])]
    )
    back = travel(group, serializer)
    assert (type(back), back.message) == (ExceptionGroup, "g")
    first, second = back.exceptions
    assert (type(first), first.args) == (ValueError, (1,))
    key, odd = second.exceptions
    assert (type(key), key.args, key.__notes__) == (KeyError, ((2,),), ["in"])
    assert isinstance(odd, RemoteError)
    assert isinstance(odd, ValueError)
    assert back.split(KeyError)[0] is not None


@both
def test_groups_that_are_no_exceptions_become_such(serializer, travel):
    back = travel(BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError(2)]), serializer)
    assert type(back) is ExceptionGroup
    assert [isinstance(member, Exception) for member in back.exceptions] == [True, True]
    unknown = travel(Group("g", [ValueError(1)]), serializer)
    assert isinstance(unknown, RemoteError)
    assert isinstance(unknown, ExceptionGroup)
    assert unknown.remote_class.endswith("Group")
    with pytest.raises(ExceptionGroup):
        raise unknown


@both
def test_unknown_classes_become_remote_errors_with_their_text(serializer, travel):
    back = travel(OddInit(1, second=(2, {3})), serializer)
    assert isinstance(back, RemoteError)
    assert isinstance(back, ValueError)
    assert str(back) == "odd: (2, {3})"
    assert same(back.second, (2, {3}))
    assert back.args == ("1 and (2, {3})",)
    for exception in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        assert isinstance(travel(exception, serializer), RemoteError)


@both
def test_registered_classes_arrive_without_their_init(serializer, travel):
    register_exception(OddInit)
    register_exception(Slotted)
    try:
        back = travel(OddInit(1, second=2), serializer)
        assert (type(back), back.second) == (OddInit, 2)
        slotted = Slotted("x")
        slotted.where = (1,)
        assert travel(slotted, serializer).where == (1,)
    finally:
        unregister_exception(OddInit)
        unregister_exception(Slotted)


def chained():
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise LookupError("second")  # noqa: B904
    except LookupError as error:
        third = ValueError("third")
        third.__cause__ = error
        return third


def test_cause_and_context_of_an_error(serializer):
    back = as_error(chained(), serializer)
    told = back.__cause__
    assert isinstance(told, RemoteTraceback)
    assert "KeyError: 'first'" in str(told)
    cause = told.remote_cause
    assert back.__context__ is cause
    assert (type(cause), cause.args) == (LookupError, ("second",))
    assert (type(cause.__context__), cause.__cause__) == (KeyError, None)
    assert any("third" in line for line in back._pyroTraceback)


def test_cause_and_context_of_a_value(serializer):
    exception = chained()
    back = as_value(exception, serializer)
    assert type(back.__cause__) is LookupError
    assert back.__suppress_context__ is True
    assert type(back.__cause__.__context__) is KeyError
    assert back.__cause__.__suppress_context__ is False
    plain = as_value(ValueError(1), serializer)
    assert (plain.__cause__, plain.__context__, plain.__suppress_context__) == (None, None, False)


def test_an_error_that_came_from_afar_is_passed_on(serializer):
    first = as_error(chained(), serializer)
    again = as_error(first, serializer)
    assert type(again.__cause__.remote_cause) is LookupError
    as_a_value = as_value(first, serializer)
    assert type(as_a_value.__cause__) is LookupError
    assert as_a_value._pyroTraceback == first._pyroTraceback


def test_parts_that_cannot_travel_arrive_as_texts(serializer):
    exception = ValueError(print, [1, print], Customer("a"), Color.RED, "fine")
    exception.lock = sys
    back = as_error(exception, serializer)
    assert type(back) is ValueError
    assert back.args[0] == repr(print)
    assert back.args[1] == repr([1, print])
    assert back.args[2] == repr(Customer("a"))  # the class is not registered here
    assert back.args[3] == repr(Color.RED)
    assert back.args[4] == "fine"
    assert back.lock == repr(sys)
    with pytest.raises(SerializeError, match=r"at \[0\]\.args\[0\]"):
        serializer.dumps([ValueError(print)])


def test_long_chains_and_wide_groups_are_bounded(serializer):
    first = error = ValueError(0)
    for number in range(500):
        error.__cause__ = ValueError(number)
        error = error.__cause__
    error.__cause__ = first  # a cycle
    for travel in (as_error, as_value):
        assert travel(first, serializer).args == (0,)
    wide = ExceptionGroup("g", [ValueError(number) for number in range(1000)])
    for travel in (as_error, as_value):
        assert 50 < len(travel(wide, serializer).exceptions) < 101
    many = ValueError(*[(number,) for number in range(1000)])
    back = as_error(many, serializer)
    assert len(back.args) == 1000
    assert (back.args[0], back.args[999]) == ((0,), "(999,)")


FORGED = [
    {}, {"class": 5}, {"class": "ValueError", "args": 5}, {"class": "ValueError", "state": [1]},
    {"class": "ValueError", "slots": 5}, {"class": "ValueError", "cause": 5}, {"class": "ValueError", "cause": {}},
    {"class": "ExceptionGroup", "members": 5}, {"class": "ExceptionGroup", "members": [5]}, {"class": "X", "bases": 5},
]  # fmt: skip


@pytest.mark.parametrize("node", FORGED, ids=[str(i) for i in range(len(FORGED))])
def test_forged_descriptions_are_refused(serializer, node):
    for payload in (["pyroipc error 2", node, []], ["pyroipc error 2", node], node, None, []):
        with pytest.raises(SerializeError):
            load_error(serializer.dumps(payload), serializer)
    with pytest.raises((SerializeError, SecurityError)):
        typed("serpent").loads(f"(...,'exception',{node!r})".encode())


@pytest.mark.parametrize(
    "node",
    [
        {"class": "UnicodeDecodeError", "args": ["a", b"", 5, 9, "x"]},
        {"class": "UnicodeDecodeError", "args": ["a", b"a", 0, 1, "x"], "slots": {"object": None, "start": 99}},
        {"class": "ValueError", "slots": {"__class__": 1, "args": 2, "__dict__": 3, "x": 4}},
        {"class": "ValueError", "state": {"__class__": 1, "__traceback__": 2, "args": 3}},
        {"class": "ValueError", "message": "m", "members": [{"class": "KeyError"}]},
        {"class": "os.system", "args": ["true"], "bases": ["x" * 1000, "builtins.KeyError"], "text": 5},
        {"class": "SystemExit", "args": [1]}, {"class": "", "args": []},
    ],
)  # fmt: skip
def test_odd_descriptions_give_harmless_exceptions(node):
    back = typed("serpent").loads(f"(...,'exception',{node!r})".encode())
    assert isinstance(back, Exception)
    str(back), repr(back)
    assert back.__traceback__ is None
