"""Exceptions that travel: as themselves where possible, and always as an Exception."""

from __future__ import annotations

import asyncio
import builtins
import gc
import sys
import threading
import traceback
import types
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc import errors
from pyroipc.errors import RemoteError, SerializeError
from pyroipc.protocol.remote_errors import (
    RemoteTraceback,
    dump_error,
    excepthook,
    format_traceback,
    get_pyro_traceback,
    load_error,
)
from pyroipc.serializers import table
from tests.support.snippets import run_python

DATA = ["serpent", "json", "msgpack", "marshal"]
CLASSES = ["pickle", "cloudpickle", "dill"]


@pytest.fixture(params=DATA + CLASSES)
def any_serializer(request):
    return table.get(request.param)


@pytest.fixture(params=CLASSES)
def pickler(request):
    return table.get(request.param)


def raised(exception):
    """Raise an exception, as a method would, and return it."""
    try:
        raise exception
    except BaseException as caught:
        return caught


def travel(exception, serializer=None, **options):
    serializer = serializer or table.get("pickle")
    return load_error(dump_error(raised(exception), serializer, **options), serializer)


# ------------------------------------------------------------------------------------- classes


class Plain(Exception):
    pass


class OddInit(ValueError):
    """Cannot be made from its args."""

    made = 0

    def __init__(self, first, *, second):
        type(self).made += 1
        super().__init__(f"{first} and {second}")
        self.second = second


class NoSuperInit(Exception):
    def __init__(self, a, b):
        self.total = a + b


class OddNew(Exception):
    def __new__(cls, *args, key):
        made = super().__new__(cls, *args)
        made.key = key
        return made

    def __init__(self, *args, key):
        pass


class Slotted(Exception):
    __slots__ = ("__hidden", "seen")

    def __init__(self, seen, hidden):
        self.seen = seen
        self.__hidden = hidden

    def hidden(self):
        return self.__hidden


class Frozen(Exception):
    def __init__(self, x):
        vars(self)["x"] = x

    def __setattr__(self, name, value):
        raise AttributeError(f"{name} is read-only")


class OddDecode(UnicodeDecodeError):
    def __init__(self, where):
        super().__init__("utf-8", b"\xff", 0, 1, f"at {where}")
        self.where = where


class OddOS(OSError):
    def __init__(self, path, *, extra):
        super().__init__(2, "not there", path)
        self.extra = extra


class Stop(BaseException):
    pass


class Nasty(Exception):
    """Whatever is asked of it, it raises."""

    def __str__(self):
        raise SystemExit("no str")

    def __repr__(self):
        raise RuntimeError("no repr")

    def __reduce__(self):
        raise KeyError("no reduce")

    @property
    def args(self):
        raise ValueError("no args")

    @property
    def __cause__(self):
        raise ValueError("no cause")

    @property
    def __traceback__(self):
        raise ValueError("no traceback")


class NastyValue:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __reduce__(self):
        raise GeneratorExit

    def __eq__(self, other):
        raise ValueError

    __hash__ = None


class Group(ExceptionGroup):
    def __new__(cls, message, members, code):
        made = super().__new__(cls, message, members)
        made.code = code
        return made

    def __init__(self, message, members, code):
        pass


# ---------------------------------------------------------------- every serializer, known classes

BUILTIN_CASES = [
    ValueError("x"),
    KeyError("k"),
    ZeroDivisionError(),
    FileNotFoundError(2, "No such file", "/nowhere"),
    StopIteration(5),
    errors.NamingError("unknown name"),
    errors.TimeoutError("late"),
    TimeoutError("late"),
    ModuleNotFoundError("No module named 'x'", name="x"),
]


@pytest.mark.parametrize("exception", BUILTIN_CASES, ids=lambda e: type(e).__name__)
def test_known_classes_arrive_as_themselves(any_serializer, exception):
    back = travel(exception, any_serializer)
    assert type(back) is type(exception)
    assert back.args == exception.args
    assert str(back) == str(exception)


def test_attributes_notes_and_traceback_arrive(any_serializer):
    error = ValueError("x")
    error.code = 7
    error.add_note("seen by the test")
    back = travel(error, any_serializer)
    assert back.code == 7
    assert list(back.__notes__) == ["seen by the test"]
    assert back._pyroTraceback[0].startswith("Traceback")
    assert "in raised" in "".join(back._pyroTraceback)
    assert isinstance(back.__cause__, RemoteTraceback)
    assert "\n  | ValueError: x\n  | seen by the test" in str(back.__cause__)
    assert not hasattr(error, "_pyroTraceback"), "the original was written to"


def test_the_remote_frames_print_as_the_cause(any_serializer):
    try:
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("remote") from error
    except ValueError as error:
        data = dump_error(error, any_serializer)
    text = "".join(traceback.format_exception(load_error(data, any_serializer)))
    assert text.index("KeyError: 'missing'") < text.index("| ValueError: remote")
    assert text.index("| ValueError: remote") < text.rindex("direct cause of the following")
    assert text.endswith("ValueError: remote\n")
    assert text.count("KeyError: 'missing'") == 1


def test_raise_from_keeps_both(any_serializer):
    remote = travel(ValueError("remote"), any_serializer)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("local") from remote
    assert caught.value.__cause__ is remote
    text = "".join(traceback.format_exception(caught.value))
    assert text.index("| ValueError: remote") < text.index("RuntimeError: local")


@pytest.mark.parametrize(
    "exception",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        Stop("enough"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_would_end_a_process_arrives_as_a_remote_error(any_serializer, exception):
    back = travel(exception, any_serializer)
    assert isinstance(back, RemoteError)
    assert isinstance(back, Exception)
    assert back.remote_class.endswith(type(exception).__name__)
    assert type(back).__name__ == type(exception).__name__
    assert not isinstance(back, type(exception))


@pytest.mark.parametrize("exception_class", [Nasty, ValueError])
def test_what_misbehaves_arrives_anyway(any_serializer, exception_class):
    exception = exception_class(NastyValue())
    exception.value = NastyValue()
    back = travel(exception, any_serializer)
    assert isinstance(back, Exception)
    assert type(back).__name__ == exception_class.__name__
    assert "in raised" in "".join(back._pyroTraceback)


def test_an_attribute_that_cannot_be_sent_arrives_as_its_repr(any_serializer):
    error = ValueError("x", threading.Lock())
    error.lock = threading.Lock()
    error.generator = (i for i in range(3))
    error.fine = [1, {"a": (2,)}]
    back = travel(error, any_serializer)
    assert back.args[0] == "x"
    assert back.fine[1]["a"][0] == 2
    assert "<generator object" in back.generator
    if any_serializer.name != "dill":  # which can send a lock
        assert "lock" in back.args[1]
        assert "lock" in back.lock


def test_the_members_of_a_group_are_told(any_serializer):
    back = travel(ExceptionGroup("both", [ValueError(1), KeyError("k")]), any_serializer)
    assert "ValueError: 1" in str(back.__cause__)
    assert "both" in str(back)


@pytest.mark.parametrize("value", [1, None, "x", [], {}, {"a": 1}, ("pyroipc error 1", {}, [])])
def test_a_payload_that_is_no_exception_is_a_serialize_error(any_serializer, value):
    with pytest.raises(SerializeError):
        load_error(any_serializer.dumps(value), any_serializer)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff\xfe"])
def test_garbage_is_a_serialize_error(any_serializer, data):
    with pytest.raises(SerializeError):
        load_error(data, any_serializer)


def test_nothing_is_held(any_serializer):
    class Marker:
        pass

    def method():
        marker = Marker()
        markers.append(weakref.ref(marker))
        raise ValueError("x")

    markers = []
    gc.collect()
    gc.disable()
    try:
        try:
            method()
        except ValueError as error:
            data = dump_error(error, any_serializer, detailed=True)
        assert markers[0]() is None, "the frames of the method are still alive"
        held = weakref.ref(load_error(data, any_serializer).__cause__)
        assert held() is None, "a cycle"
    finally:
        gc.enable()


# --------------------------------------------------------------------------- with classes: pickle


@pytest.mark.parametrize(
    "exception",
    [
        Plain(1, "two"),
        OddInit(1, second=2),
        NoSuperInit(1, 2),
        OddNew("a", key="k"),
        Slotted([1], "h"),
        Frozen(3),
        OddDecode("here"),
        OddOS("/x", extra=1),
    ],
    ids=lambda e: type(e).__name__,
)
def test_classes_of_the_user_arrive_without_their_init(pickler, exception):
    OddInit.made = 0
    back = travel(exception, pickler)
    assert type(back) is type(exception)
    assert OddInit.made == 0
    assert back.args == exception.args
    assert str(back) == str(exception)
    state = {name: value for name, value in vars(back).items() if name != "_pyroTraceback"}
    assert state == vars(exception)


def test_slots_of_user_and_builtin_classes_arrive(pickler):
    slotted = travel(Slotted([1], "h"), pickler)
    assert (slotted.seen, slotted.hidden()) == ([1], "h")
    odd = travel(OddOS("/x", extra=1), pickler)
    assert (odd.errno, odd.strerror, odd.filename, odd.filename2) == (2, "not there", "/x", None)
    decode = travel(OddDecode("here"), pickler)
    assert (decode.encoding, decode.object, decode.start, decode.end) == ("utf-8", b"\xff", 0, 1)
    missing = raised(ImportError("m", name="n", path="p"))
    missing = travel(missing, pickler)
    assert (missing.name, missing.path, missing.msg) == ("n", "p", "m")
    syntax = travel(SyntaxError("bad", ("f.py", 3, 4, "text", 3, 9)), pickler)
    assert (syntax.lineno, syntax.offset, syntax.end_offset) == (3, 4, 9)
    assert travel(StopIteration([1]), pickler).value == [1]
    lacking = AttributeError("m", name="nothing", obj=Plain())
    assert travel(lacking, pickler).name == "nothing"
    assert travel(lacking, pickler).obj is None
    blocking = BlockingIOError(11, "busy", 5)
    assert travel(blocking, pickler).characters_written == 5
    assert travel(SystemExit(3), pickler).code == 3


def test_cause_and_context_remain_reachable(pickler):
    try:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise Plain("second")  # noqa: B904 - the implicit context is wanted
        except Plain as error:
            raise OddInit(3, second=4) from error
    except OddInit as error:
        back = load_error(dump_error(error, pickler), pickler)
    told = back.__cause__
    assert type(told.remote_cause) is Plain
    assert back.__context__ is told.remote_cause
    assert type(told.remote_cause.__context__) is KeyError
    assert told.remote_cause.__cause__ is None
    assert told.remote_context is None

    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise Plain("second")  # noqa: B904
    except Plain as error:
        back = load_error(dump_error(error, pickler), pickler)
    assert type(back.__cause__.remote_context) is KeyError
    assert type(back.__context__) is KeyError


def test_cycles_and_long_chains_of_causes_end(pickler):
    one, two = Plain(1), Plain(2)
    one.__cause__, two.__cause__ = two, one
    back = travel(one, pickler)
    assert back.__cause__.remote_cause.args == (2,)
    error = None
    for number in range(500):
        following = Plain(number)
        following.__cause__ = error
        error = following
    assert travel(error, pickler).args == (499,)
    one.itself = one
    assert travel(one, pickler).args == (1,)


def test_groups_arrive_with_their_members(pickler):
    inner = ExceptionGroup("inner", [OddInit(1, second=2)])
    group = ExceptionGroup("outer", [raised(KeyError("k")), inner])
    group.extra = 5
    back = travel(group, pickler)
    assert type(back) is ExceptionGroup
    assert back.message == "outer"
    assert back.extra == 5
    assert type(back.exceptions[0]) is KeyError
    assert type(back.exceptions[1].exceptions[0]) is OddInit
    back = travel(Group("own", [Plain()], 7), pickler)
    assert (type(back), back.code, back.message) == (Group, 7, "own")
    back = travel(BaseExceptionGroup("bad", [KeyboardInterrupt(), Plain()]), pickler)
    assert isinstance(back, ExceptionGroup)
    assert isinstance(back.exceptions[0], RemoteError)
    assert type(back.exceptions[1]) is Plain
    many = ExceptionGroup("many", [ValueError(n) for n in range(1000)])
    assert type(travel(many, pickler)) is ExceptionGroup


def _module_with_class(monkeypatch, base):
    module = types.ModuleType("only_there")
    error_class = type("Odd", (base,), {"__module__": "only_there"})
    module.Odd = error_class
    monkeypatch.setitem(sys.modules, "only_there", module)
    return error_class


@pytest.mark.parametrize(
    "base", [Exception, ValueError, Plain, OSError, Frozen, errors.DaemonError]
)
def test_an_unknown_class_is_also_its_nearest_known_base(monkeypatch, base):
    error_class = _module_with_class(monkeypatch, base)
    error_class.__str__ = lambda self: "its own text"
    error = error_class(5)
    vars(error)["code"] = 9
    data = dump_error(raised(error), table.get("pickle"))
    monkeypatch.delitem(sys.modules, "only_there")
    back = load_error(data, table.get("pickle"))
    assert isinstance(back, RemoteError)
    assert isinstance(back, base)
    assert back.remote_class == "only_there.Odd"
    assert (back.args, back.code, str(back)) == ((5,), 9, "its own text")
    again = load_error(data, table.get("pickle"))
    assert type(again) is type(back)


def test_an_unknown_class_travels_on_under_its_own_name(monkeypatch, pickler):
    error_class = _module_with_class(monkeypatch, ValueError)
    data = dump_error(raised(error_class("x")), table.get("pickle"))
    monkeypatch.delitem(sys.modules, "only_there")
    first = load_error(data, table.get("pickle"))
    second = travel(first, pickler)
    assert second.remote_class == "only_there.Odd"
    assert isinstance(second, ValueError)
    assert str(second) == "x"
    assert "in raised" in str(second.__cause__)


def test_a_base_that_does_not_want_subclasses_is_passed_over(monkeypatch):
    class Sealed(LookupError):
        sealed = False

        def __init_subclass__(cls):
            if Sealed.sealed:
                raise TypeError("no more")

    monkeypatch.setitem(globals(), "Sealed", Sealed)
    Sealed.__qualname__ = "Sealed"
    error_class = _module_with_class(monkeypatch, Sealed)
    data = dump_error(raised(error_class("x")), table.get("pickle"))
    monkeypatch.delitem(sys.modules, "only_there")
    Sealed.sealed = True
    back = load_error(data, table.get("pickle"))
    assert isinstance(back, RemoteError)
    assert isinstance(back, LookupError)
    assert not isinstance(back, Sealed)


def test_an_attribute_that_cannot_be_loaded_arrives_as_a_text(monkeypatch):
    module = types.ModuleType("only_there")
    value_class = module.Value = type("Value", (), {"__module__": "only_there"})
    monkeypatch.setitem(sys.modules, "only_there", module)
    error = Plain("x", value_class())
    error.value = value_class()
    error.fine = [1]
    data = dump_error(raised(error), table.get("pickle"))
    monkeypatch.delitem(sys.modules, "only_there")
    back = load_error(data, table.get("pickle"))
    assert type(back) is Plain
    assert back.args[0] == "x"
    assert "only_there.Value" in back.args[1]
    assert "only_there.Value" in back.value
    assert back.fine == [1]


def test_local_classes_travel_home(pickler):
    class Local(Plain):
        def __init__(self, a, b):
            super().__init__(a)
            self.b = b

    if pickler.name == "dill":  # it makes a new class each time
        assert type(travel(Local(1, 2), pickler)).__name__ == "Local"
    else:
        assert type(travel(Local(1, 2), pickler)) is Local


NAMES = sorted(
    name for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
    and not issubclass(value, BaseExceptionGroup | UnicodeError)
)  # fmt: skip


@given(
    st.sampled_from(NAMES),
    st.lists(
        st.none() | st.integers() | st.text() | st.binary() | st.tuples(st.text()), max_size=6
    ),
)
def test_any_builtin_with_any_args(name, args):
    try:
        exception = getattr(builtins, name)(*args)
    except Exception:
        return
    back = travel(exception)
    if isinstance(exception, Exception):
        assert type(back) is type(exception)
    assert isinstance(back, Exception)
    assert back.args == exception.args


def test_a_proxy_of_a_proxy_tells_of_both_sides(any_serializer):
    first = travel(ValueError("deep"), any_serializer)
    second = travel(first, any_serializer)
    assert "".join(second._pyroTraceback).count("in raised") == 2
    assert "Remote" in "".join(second._pyroTraceback)


# ----------------------------------------------------------------------------------- tracebacks


DISPATCHER = """
def serve(method, dump, serializer):
    try:
        return step(method)
    except Exception as error:
        return dump(error, serializer)

def step(method):
    return method(step)
"""


def test_frames_of_this_package_above_the_method_are_left_out():
    dispatcher = types.ModuleType("pyroipc.server.pretended")
    exec(DISPATCHER, vars(dispatcher))
    serializer = table.get("pickle")

    def method(call_back):
        call_back(lambda _: 1 / 0)

    data = dispatcher.serve(method, dump_error, serializer)
    text = "".join(load_error(data, serializer)._pyroTraceback)
    assert "in serve" not in text
    assert text.index("in method") < text.index("in step") < text.index("in <lambda>")
    data = dispatcher.serve(None, dump_error, serializer)
    text = "".join(load_error(data, serializer)._pyroTraceback)
    assert text.index("in serve") < text.index("in step"), "no frame of the user: all are shown"


def test_detailed_tracebacks_show_values(any_serializer):
    class Service:
        def __init__(self):
            self.member = "of the service"

        def method(self, number):
            secret = f"value {number}"
            long = "x" * 100_000
            return number / 0, secret, long

    def call():
        Service().method(3)

    try:
        call()
    except ZeroDivisionError as error:
        short = "".join(
            load_error(dump_error(error, any_serializer), any_serializer)._pyroTraceback
        )
        data = dump_error(error, any_serializer, detailed=True)
    text = "".join(load_error(data, any_serializer)._pyroTraceback)
    assert "secret = 'value 3'" in text
    assert "self.member = 'of the service'" in text
    assert "Service.method" in text
    assert text.startswith("-" * 52)
    assert len(text) < 10_000
    assert "value 3" not in short


def test_get_pyro_traceback_puts_the_remote_part_after_the_local_one():
    remote = travel(ValueError("remote"))
    try:
        raise remote
    except ValueError:
        lines = get_pyro_traceback()
    text = "".join(lines)
    assert text.index("ValueError: remote") < text.index("Remote traceback:")
    assert "\n | ValueError: remote" in text
    assert text.endswith("\n +--- End of remote traceback\n")
    assert text.count("in raised") == 1
    assert "".join(get_pyro_traceback(type(remote), remote, remote.__traceback__)) == text


def test_a_local_exception_has_only_a_local_traceback():
    error = raised(ValueError("local"))
    expected = traceback.format_exception(error)
    assert get_pyro_traceback(type(error), error, error.__traceback__) == expected
    assert format_traceback(None, error, error.__traceback__) == expected
    assert format_traceback(ValueError) == ["ValueError\n"]


def test_without_an_exception_there_is_nothing_to_tell():
    assert get_pyro_traceback() == ["No exception.\n"]


@pytest.mark.parametrize("function", [get_pyro_traceback, format_traceback])
def test_one_argument_that_is_no_class_is_a_mistake(function):
    with pytest.raises(TypeError):
        function(ValueError("instance"))


def test_detailed_tracebacks_are_bounded():
    def descend(n):
        return descend(n + 1)

    back = travel(ValueError("x"), detailed=True)
    assert "in raised" in "".join(back._pyroTraceback)
    with pytest.raises(RecursionError) as caught:
        descend(0)
    text = "".join(
        format_traceback(RecursionError, caught.value, caught.value.__traceback__, detailed=True)
    )
    assert "... and more frames" in text
    assert len(text) < 100_000


def test_detailed_format_tells_of_causes():
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        text = "".join(format_traceback(type(error), error, error.__traceback__, detailed=True))
    assert text.index("second") < text.index("first")


def test_excepthook_prints_both_tracebacks(capsys):
    remote = raised(travel(ValueError("remote")))
    excepthook(type(remote), remote, remote.__traceback__)
    printed = capsys.readouterr().err
    assert printed == "".join(get_pyro_traceback(type(remote), remote, remote.__traceback__))


def test_importing_remote_errors_does_not_load_traceback():
    finished = run_python("""
        import sys
        import pyroipc.protocol.remote_errors
        print(sorted({"traceback", "cloudpickle", "pickle", "typing", "inspect"}
                     & set(sys.modules)))
    """)
    assert finished.stdout == "[]\n", finished
