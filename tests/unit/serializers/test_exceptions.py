"""pyroipc/serializers/exceptions.py: which exceptions may be rebuilt, and how."""

import copy
import pickle
import sqlite3
import struct
import subprocess
import sys
import zlib

import pytest

from pyroipc import errors
from pyroipc.serializers import classes, exceptions, table
from pyroipc.serializers.exceptions import exception_to_dict, rebuild_exception

PLAIN_FORMATS = ["serpent", "json", "msgpack", "marshal"]


class Custom(ValueError):
    calls = 0

    def __init__(self, a, b):  # args do not fit: args == ("a and b",)
        type(self).calls += 1
        super().__init__(f"{a} and {b}")
        self.a = a


class Deep(Custom, LookupError):
    pass


def through(name, error):
    serializer = table.get(name)
    return serializer.loads(serializer.dumps(error))


@pytest.mark.parametrize("name", PLAIN_FORMATS)
@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom", 5),
        KeyError("k"),
        StopIteration(3),
        OSError(5, "io"),
        FileNotFoundError(2, "gone", "file.txt"),
        OSError(13, "no", "a", None, "b"),
        ZeroDivisionError(),
        ImportError("x"),
        SyntaxError("bad", ("f.py", 3, 2, "text")),
        TimeoutError("t"),
        UnicodeEncodeError("ascii", "é", 0, 1, "why"),
        struct.error("s"),
        zlib.error("z"),
        sqlite3.IntegrityError("i"),
        errors.NamingError("n"),
        errors.TimeoutError("t"),
        errors.SerializeError("s"),
        errors.ForkedConnectionError("f"),
        errors.PeerDiedError("gone", pid=5, exitcode=-9),
    ],
)
def test_known_exceptions_arrive_as_themselves(name, error):
    back = through(name, error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    for attribute in ("errno", "strerror", "filename", "filename2", "value", "lineno", "reason"):
        assert getattr(back, attribute, None) == getattr(error, attribute, None)


@pytest.mark.parametrize("name", ["serpent", "msgpack", "marshal"])
def test_unicode_decode_error(name):
    back = through(name, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"))
    assert type(back) is UnicodeDecodeError
    assert back.object == b"\xff"


def test_oserror_class_follows_errno_as_in_python():
    assert type(rebuild_exception({"__class__": "OSError", "args": (2, "x")})) is FileNotFoundError


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_notes_and_attributes_travel(name):
    error = ValueError("x")
    error.add_note("a note")
    error.code = [1, {"k": 2}]
    error._pyroTraceback = ["line\n"]
    back = through(name, error)
    assert back.__notes__ == ["a note"]
    assert back.code == [1, {"k": 2}]
    assert back._pyroTraceback == ["line\n"]


def test_dunder_and_odd_attributes_are_dropped():
    attributes = {"__class__": "x", "__dict__": 1, "__notes__": ["a", 5], 7: 8, "ok": 1, "args": 2}
    error = rebuild_exception({"__class__": "ValueError", "args": ["m"], "attributes": attributes})
    assert vars(error) == {"__notes__": ["a"], "ok": 1, "args": 2}
    assert error.args == ("m",)


@pytest.mark.parametrize("prefix", ["", "pyroipc.errors.", "Pyro5.errors.", "Pyro4.errors."])
def test_our_errors_have_four_names(prefix):
    error = rebuild_exception({"__class__": f"{prefix}CommunicationError", "args": ("x",)})
    assert type(error) is errors.CommunicationError


def test_timeout_error_is_ours_when_bare_and_pythons_when_qualified():
    assert exceptions.known_exception("TimeoutError") is errors.TimeoutError
    assert exceptions.known_exception("builtins.TimeoutError") is TimeoutError
    assert exceptions.known_exception("exceptions.ValueError") is ValueError


def test_names_on_the_wire():
    name = lambda error: exception_to_dict(error)["__class__"]  # noqa: E731
    assert name(errors.NamingError()) == "NamingError"  # both Pyros know the short name
    assert name(errors.StartupError()) == "pyroipc.errors.StartupError"
    assert name(ValueError()) == "builtins.ValueError"
    assert name(Custom(1, 2)) == f"{__name__}.Custom"
    assert exception_to_dict(Deep(1, 2))["bases"] == [
        f"{__name__}.Custom",
        "builtins.ValueError",
        "builtins.LookupError",
    ]
    for known in (ValueError("x"), errors.NamingError("x"), FileNotFoundError(2, "x")):
        assert set(exception_to_dict(known)) == {
            "__class__",
            "__exception__",
            "args",
            "attributes",
        }


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_unknown_class_arrives_as_a_stand_in(name):
    back = through(name, Deep("x", "y"))
    assert isinstance(back, errors.RemoteError)
    assert isinstance(back, ValueError)
    assert back.remote_class == f"{__name__}.Deep"
    assert type(back).__name__ == "Deep"
    assert back.args == ("x and y",)
    assert back.a == "x"


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_forwarded_stand_ins_keep_the_name_and_the_base(name):
    once = through(name, Deep("x", "y"))
    twice = through(name, once)
    assert type(twice) is type(once)
    classes.register_exception(Deep)
    try:
        assert type(through(name, once)) is Deep
    finally:
        classes.unregister_exception(Deep)


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_registered_class_is_rebuilt_without_its_init(name):
    classes.register_exception(Custom)
    try:
        error = Custom("x", "y")
        calls = Custom.calls
        back = through(name, error)
        assert type(back) is Custom
        assert (str(back), back.a, Custom.calls) == ("x and y", "x", calls)
    finally:
        classes.unregister_exception(Custom)


@pytest.mark.parametrize("cls", [SystemExit, KeyboardInterrupt, int, "x", ValueError("x")])
def test_only_exception_classes_can_be_registered(cls):
    with pytest.raises(TypeError, match="subclasses of Exception"):
        classes.register_exception(cls)


@pytest.mark.parametrize(
    "cls",
    ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "BaseExceptionGroup"],
)
@pytest.mark.parametrize("prefix", ["", "builtins."])
def test_exceptions_that_end_processes_are_never_rebuilt(cls, prefix):
    data = {"__class__": prefix + cls, "__exception__": True, "args": ("x",), "bases": [cls]}
    error = classes.dict_to_class(data)
    assert isinstance(error, errors.RemoteError)
    assert not isinstance(error, SystemExit | KeyboardInterrupt | GeneratorExit)
    assert error.remote_class == prefix + cls


def test_nested_base_exceptions_are_wrapped_too():
    group = ExceptionGroup("g", [ValueError("v"), Custom(1, 2)])
    for name in ("serpent", "json", "msgpack", "marshal"):
        back = through(name, group)
        assert type(back) is ExceptionGroup
        assert type(back.exceptions[0]) is ValueError
        assert isinstance(back.exceptions[1], errors.RemoteError)
    inner = {"__class__": "SystemExit", "__exception__": True, "args": (1,)}
    data = {"__class__": "ExceptionGroup", "__exception__": True, "args": ("g", [inner])}
    assert isinstance(classes.dict_to_class(data).exceptions[0], errors.RemoteError)


def test_args_that_do_not_fit_give_the_nearest_base():
    error = rebuild_exception({"__class__": "UnicodeDecodeError", "args": ("only",)})
    assert isinstance(error, errors.RemoteError)
    assert isinstance(error, UnicodeError)
    assert str(error) == "only"
    error = rebuild_exception({"__class__": "ExceptionGroup", "args": (1, 2, 3)})
    assert isinstance(error, errors.RemoteError)
    assert error.args == (1, 2, 3)


@pytest.mark.parametrize("start", [-(2**40), -1, 2, 2**62])
def test_unicode_errors_cannot_point_outside_of_their_object(start):
    for cls, subject in (("UnicodeDecodeError", b"a"), ("UnicodeEncodeError", "a")):
        data = {"__class__": cls, "args": ("utf-8", subject, start, start + 1, "r")}
        error = rebuild_exception(data)
        assert isinstance(error, errors.RemoteError)
        str(error)


@pytest.mark.parametrize("name", ["", "x\0y", "a..b", "é\udc80", "a b", "1", "x" * 1000, "<x>.y"])
def test_odd_class_names(name):
    error = rebuild_exception({"__class__": name, "args": ()})
    assert type(error) is not errors.RemoteError
    assert isinstance(error, errors.RemoteError)
    assert len(error.remote_class) < 300


@pytest.mark.parametrize(
    "data",
    [{}, {"__class__": 5}, {"__class__": "x", "args": "abc"}, {"__class__": "x", "args": {}}],
)
def test_wrong_shapes(data):
    with pytest.raises(errors.SerializeError):
        rebuild_exception(data)


@pytest.mark.parametrize("bases", [5, "ValueError", [1, None, "x" * 9999], ["x"] * 10**5, {}])
def test_odd_bases(bases):
    assert isinstance(rebuild_exception({"__class__": "a.b", "bases": bases}), errors.RemoteError)


def test_stand_ins_are_cached_and_the_cache_is_bounded():
    first = rebuild_exception({"__class__": "app.Same", "args": ()})
    assert type(rebuild_exception({"__class__": "app.Same", "args": ()})) is type(first)
    for index in range(1000):
        rebuild_exception({"__class__": f"app.E{index}", "args": ()})
    assert len(exceptions._stand_ins) <= exceptions.MAX_STAND_INS


def test_stand_ins_can_be_pickled_and_copied():
    error = rebuild_exception(exception_to_dict(Deep("x", "y")))
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is type(error)
        assert back.args == error.args
        assert vars(back) == vars(error)


def test_values_that_cannot_be_encoded_become_their_repr():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    error = ValueError("x", len)
    rude = Rude()
    rude.inner = len
    error.bad, error.rude, error.good = int, rude, [1]
    described = exception_to_dict(error, table.get("json").dumps)
    assert described["args"] == ("x", repr(len))
    assert described["attributes"]["bad"] == repr(int)
    assert "Rude" in str(described["attributes"]["rude"])
    assert described["attributes"]["good"] == [1]
    assert error.args == ("x", len)
    assert error.bad is int
    table.get("json").dumps(described)


def test_sqlite_is_not_imported_for_an_exception():
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pyroipc.serializers import exceptions\n"
        "e = exceptions.rebuild_exception({'__class__': 'sqlite3.Error', 'args': ('x',)})\n"
        "assert 'sqlite3' not in sys.modules and e.remote_class == 'sqlite3.Error'\n"
        "e = exceptions.rebuild_exception({'__class__': 'sqlite3.connect', 'args': ('x',)})\n"
        "assert e.remote_class == 'sqlite3.connect'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
