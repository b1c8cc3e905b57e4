"""The forms of the serializers for peers that are Pyro: what is told of values and exceptions.

That the released packages read it is seen in tests/interop/test_payloads.py.
"""

from __future__ import annotations

import datetime
import enum
import pickletools

import numpy
import pytest

from pyroipc import errors
from pyroipc.errors import SerializeError
from pyroipc.protocol.remote_errors import dress_error, dump_error, load_error
from pyroipc.serializers import classes, table
from pyroipc.serializers.exceptions import rebuild_exception
from pyroipc.serializers.wrapped import WRAPPER_NAMES, ExceptionWrapper
from tests.support.pyro_manners import PlainManner, Registered, RegisteredDict, RegisteredText
from tests.support.snippets import run_python

DATA = ["serpent", "json", "marshal", "msgpack"]
PICKLES = ["pickle", "cloudpickle", "dill"]


def form(name, family="Pyro5"):
    return table.get(name).for_pyro(PlainManner(family))


@pytest.fixture(params=DATA)
def data_form(request):
    return form(request.param)


@pytest.fixture(params=PICKLES)
def pickle_form(request):
    return form(request.param, "Pyro4")


def dict_of(form, exception):
    """Return the class dict that is sent for an exception."""
    seen = []

    def look(name, data):
        seen.append(data)
        return None

    probe = ["builtins." + exception_type.__name__ for exception_type in type(exception).__mro__]
    names = [*probe, *errors.__all__, "app.Custom"]
    for name in names:
        classes.register_dict_to_class(name, look)
    try:
        form.loads(form.dumps_error(exception, ["line\n"]))
    finally:
        for name in names:
            classes.unregister_dict_to_class(name)
    return seen[-1]


# --- bytes ---------------------------------------------------------------------------------------

GOLDEN = {
    "serpent": b"# serpent utf-8 python3.2\n('t','echo',(1,),{})",
    "json": b'{"object": "t", "method": "echo", "params": [1], "kwargs": {}}',
    "msgpack": b"\x94\xa1t\xa4echo\x91\x01\x80",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_call_byte_for_byte(name):
    assert form(name).dumps_call("t", "echo", (1,), {}) == GOLDEN[name]


@pytest.mark.parametrize(
    "args", [(), (1,), (1, "it's", None, True), (2.5, [1], {"a": (1,)}, "x\ud800y"), ([],)]
)
@pytest.mark.parametrize("kwargs", [None, {}, {"k": 1}])
def test_serpent_writes_as_before(args, kwargs):
    plain = table.get("serpent")
    assert form("serpent").dumps_call("o", "m", args, kwargs) == plain.dumps_call(
        "o", "m", args, kwargs
    )
    assert [form("serpent").dumps(value) for value in args] == [
        plain.dumps(value) for value in args
    ]


def test_serpent_has_limits():
    value = 1
    for _ in range(250):
        value = [value]
    with pytest.raises(SerializeError, match="nesting too deep"):
        form("serpent").dumps(value)
    with pytest.raises(SerializeError, match="integer string conversion"):
        form("serpent").dumps(10**5000)
    with pytest.raises(SerializeError, match="integer string conversion"):
        form("serpent").dumps_call("o", "m", (10**5000,), None)


def test_marshal_looks_for_what_has_a_buffer():
    marshal = form("marshal")
    sized = [0x73, 0x73, "names", 5, b"s\x00\x00\x00\x00", "tags", {"s": 1, 2: "s"}] * 10
    assert marshal.loads(marshal.dumps(sized)) == sized
    assert marshal.loads(marshal.dumps([1, {"k": numpy.float64(2.5)}])) == [1, {"k": 2.5}]
    with pytest.raises(SerializeError, match="ndarray"):
        marshal.dumps([b"x", numpy.array([1])])
    loop = [b"s\x00\x00\x00\x00"]
    loop.append(loop)
    assert marshal.loads(marshal.dumps(loop))[0] == loop[0]


# --- objects -------------------------------------------------------------------------------------


def test_the_manner_comes_before_converters(data_form):
    classes.register_class_to_dict(Registered, lambda _: {"never": 1})
    try:
        payload = data_form.dumps([Registered()])
    finally:
        classes.unregister_class_to_dict(Registered)
    assert b"Pyro5.client.Proxy" in payload


def test_subclasses_that_nothing_stands_for(data_form):
    class Text(str):
        __slots__ = ()

    class Mapping(dict):
        pass

    number = enum.IntEnum("number", {"ONE": 1}).ONE
    value = [Mapping(a=number), {"k": Mapping()}, number]
    assert data_form.loads(data_form.dumps(value)) == [{"a": 1}, {"k": {}}, 1]
    if data_form.name != "serpent":  # there it is an instance like others
        assert data_form.loads(data_form.dumps({"k": [Text("x")]})) == {"k": ["x"]}


def test_objects_in_what_is_described(data_form):
    """What a converter or the manner returns may hold objects, too."""

    class Outer:
        pass

    classes.register_class_to_dict(Outer, lambda _: {"in": [RegisteredDict(), RegisteredText()]})
    classes.register_dict_to_class("Pyro5.client.Proxy", lambda *_: "proxy")
    try:
        arrived = data_form.loads(data_form.dumps(Outer()))
    finally:
        classes.unregister_class_to_dict(Outer)
        classes.unregister_dict_to_class("Pyro5.client.Proxy")
    assert arrived == {"in": ["proxy", "proxy"]}


ADVICE = [
    (numpy.array([1]), "tolist"),
    (object(), "register_class_to_dict"),
    (len, "register_class_to_dict"),
    (enum.Enum("Colour", {"RED": object()}).RED, "register"),
]


@pytest.mark.parametrize(("value", "advice"), ADVICE, ids=lambda item: type(item).__name__)
def test_what_cannot_be_sent_says_what_to_do(data_form, value, advice):
    if data_form.name == "serpent" and isinstance(value, enum.Enum):
        value = value.value  # that is what it sends
    for sent in (value, [1, {"k": value}]):
        with pytest.raises(SerializeError, match="don't know how to serialize class <") as caught:
            data_form.dumps(sent)
        assert advice in str(caught.value)


# --- exceptions ----------------------------------------------------------------------------------


class Custom(ValueError):
    pass


Custom.__module__ = "app"


def test_the_shape_of_an_exception(data_form):
    error = Custom("boom", 5)
    error.extra = [1]
    described = dict_of(data_form, error)
    assert described["__class__"] == "app.Custom"
    assert described["__exception__"] is True
    assert list(described["args"]) == ["boom", 5]
    assert described["attributes"] == {"extra": [1], "_pyroTraceback": ["line\n"]}


def test_the_converter_of_an_exception(data_form):
    def convert(error):
        return {"__class__": "app.Custom", "attributes": {"told": str(error)}}

    classes.register_class_to_dict(Custom, convert)
    try:
        described = dict_of(data_form, Custom("boom"))
    finally:
        classes.unregister_class_to_dict(Custom)
    assert described["attributes"] == {"told": "boom", "_pyroTraceback": ["line\n"]}


def test_a_converter_that_fails(data_form):
    classes.register_class_to_dict(Custom, lambda _: 1 / 0)
    try:
        described = dict_of(data_form, Custom("boom"))
        wrapped = data_form.loads(data_form.dumps([ExceptionWrapper(Custom("boom"), [])]))
    finally:
        classes.unregister_class_to_dict(Custom)
    assert described["__class__"] == "PyroError"
    assert "division by zero" in described["args"][0]
    assert "division by zero" in str(wrapped[0].exception)


def test_an_exception_that_was_passed_on_keeps_its_name(data_form):
    foreign = rebuild_exception({
        "__class__": "their.Error",
        "args": ("x",),
        "bases": ["KeyError"],
    })
    payload = data_form.dumps_error(foreign, [])
    assert b"their.Error" in payload
    assert data_form.loads_error(payload).remote_class == "their.Error"


def test_a_traceback_that_an_exception_brought(data_form):
    error = ValueError("x")
    error._pyroTraceback = ["from afar\n"]
    back = data_form.loads(data_form.dumps([error]))[0]
    assert back._pyroTraceback == ["from afar\n"]
    assert data_form.loads_error(data_form.dumps_error(error, None))._pyroTraceback == [
        "from afar\n"
    ]
    assert data_form.loads_error(data_form.dumps_error(error, ["new\n"]))._pyroTraceback == [
        "new\n"
    ]


def test_texts_that_no_format_sends(data_form):
    error = ValueError("lone \ud800", 10**5000)
    back = data_form.loads_error(data_form.dumps_error(error, []))
    assert type(back) is ValueError
    assert "lone" in str(back.args[0])


def test_names_of_files(data_form):
    for names in (("one",), ("one", None, "two")):
        error = OSError(2, "No such file", *names)
        back = load_error(dump_error(error, data_form), data_form)
        assert (str(back), back.args) == (str(error), error.args)


def test_wrappers(data_form):
    for family, name in WRAPPER_NAMES.items():
        payload = form(data_form.name, family).dumps([ExceptionWrapper(ValueError("x"))])
        assert name.encode() in payload
        assert type(data_form.loads(payload)[0]) is ExceptionWrapper


@pytest.mark.parametrize("inner", [None, 5, {"a": 1}, {"__class__": "float", "value": "1"}])
def test_wrappers_of_no_exception(data_form, inner):
    for name in WRAPPER_NAMES.values():
        payload = data_form.dumps({"__class__": name, "exception": inner})
        with pytest.raises(SerializeError, match="no exception"):
            data_form.loads(payload)


def test_only_exceptions_are_raised():
    assert isinstance(dress_error(SystemExit(3)), errors.RemoteError)
    assert isinstance(dress_error(KeyboardInterrupt()), errors.RemoteError)
    assert type(dress_error(StopIteration(3))) is StopIteration
    assert isinstance(
        dress_error({"__class__": "builtins.SystemExit", "args": ()}), errors.RemoteError
    )
    with pytest.raises(SerializeError, match="an exception was expected"):
        dress_error("text")


# --- the pickle family ---------------------------------------------------------------------------


def test_nothing_of_pyro4_is_imported():
    """What names Pyro4 is written and read where there is no Pyro4."""
    finished = run_python(
        """
        import sys
        sys.modules["Pyro4"] = None

        from pyroipc import errors
        from pyroipc.serializers import classes, table
        from pyroipc.serializers.wrapped import ExceptionWrapper
        from tests.support.pyro_manners import PlainManner, Registered

        classes.register_dict_to_class("Pyro4.core.Proxy", lambda name, data: data["state"][0])
        for name in ("pickle", "cloudpickle", "dill"):
            form = table.get(name).for_pyro(PlainManner("Pyro4"))
            value = [Registered(), errors.TimeoutError("late"), errors.BusyError, errors.PyroError]
            uri, error, busy, base = form.loads(form.dumps(value))
            assert uri == "PYRO:obj@localhost:9999", uri
            assert type(error) is errors.TimeoutError
            assert (busy, base) == (errors.BusyError, errors.PyroError)
            (wrapper,) = form.loads(form.dumps([ExceptionWrapper(ValueError("x"), ["line"])]))
            assert wrapper.exception._pyroTraceback == ["line"]
        print("done")
        """,
        options=(),
    )
    assert finished.stdout == "done\n", finished


PICKLED_URI = (
    b"\x80\x04\x8c\nPyro4.core\x94\x8c\x03URI\x94\x93\x94)\x81\x94"
    b"(\x8c\x04PYRO\x8c\x03obj N\x8c\x04hostK\x01t\x94b"
).replace(b"obj N", b"objN")


@pytest.fixture
def _uris_as_tuples():
    classes.register_dict_to_class("Pyro4.core.URI", lambda _, data: ("URI", data["state"]))
    yield
    classes.unregister_dict_to_class("Pyro4.core.URI")


@pytest.mark.usefixtures("_uris_as_tuples")
def test_an_object_is_one_object_after_it_is_finished(pickle_form):
    state = ("PYRO", "obj", None, "host", 1)
    assert pickle_form.loads(PICKLED_URI + b".") == ("URI", state)
    twice = b"\x80\x04]\x94(" + PICKLED_URI[2:] + b"h\x04e."
    first, second = pickle_form.loads(twice)
    assert first is second
    assert first == ("URI", state)
    unshared = PICKLED_URI.replace(b"\x94", b"")
    assert pickle_form.loads(unshared + b".") == ("URI", state)


def test_bad_states(pickle_form):
    classes.register_dict_to_class("Pyro4.core.Proxy", lambda _, data: data["state"])
    try:
        for state in (b"N", b"K\x01", b")", b"(NNNNNt"):
            payload = b"\x80\x04cPyro4.core\nProxy\n)\x81" + state + b"b."
            with pytest.raises(SerializeError, match="not the state"):
                pickle_form.loads(payload)
    finally:
        classes.unregister_dict_to_class("Pyro4.core.Proxy")


def test_other_names_of_pyro4_are_not_found(pickle_form):
    with pytest.raises(SerializeError, match="cannot load"):
        pickle_form.loads(b"cPyro4.nowhere\nThing\n.")


def test_a_missing_class_of_an_exception(pickle_form):
    payload = (
        b"\x80\x04cmissing.module\nOops\n\x8c\x04boomK\x05\x86R}(\x8c\x05extraK\x07"
        b"\x8c\x0e_pyroTraceback]\x8c\x04lineaub."
    )
    error = load_error(payload, pickle_form)
    assert isinstance(error, errors.RemoteError)
    assert error.remote_class == "missing.module.Oops"
    assert (error.args, error.extra, error._pyroTraceback) == (("boom", 5), 7, ["line"])
    with pytest.raises(SerializeError, match="missing"):
        pickle_form.loads(payload)


class Picky(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def test_an_exception_that_does_not_take_its_args(pickle_form):
    import pickle

    error = Picky(1, 2)
    error.extra = 3
    with pytest.raises(SerializeError):
        pickle_form.loads(pickle.dumps(error))
    back = load_error(pickle.dumps(error), pickle_form)
    assert (type(back), back.args, back.extra) == (Picky, ("1 and 2",), 3)
    with pytest.raises(SerializeError, match="cannot load"):
        load_error(b"\x80\x04garbage", pickle_form)


class Reduced(Exception):
    def __reduce__(self):
        return Reduced, ("made", *self.args[1:])


class Stateful(Exception):
    def __setstate__(self, state):
        self.state = state


def test_exceptions_with_ways_of_their_own(pickle_form):
    error = Reduced("made", (item for item in ()))
    back = load_error(pickle_form.dumps_error(error, ["line\n"]), pickle_form)
    assert (type(back), back.args[0], back._pyroTraceback) == (Reduced, "made", ["line\n"])
    assert back.args[1].startswith("<generator")
    stateful = Stateful("text")
    stateful.extra = 1
    back = load_error(pickle_form.dumps_error(stateful, ["line\n"]), pickle_form)
    assert (type(back), back.state) == (Stateful, {"extra": 1})


def test_an_attribute_error_does_not_take_its_object_along(pickle_form):
    secret = Registered()
    with pytest.raises(AttributeError) as caught:
        secret.missing  # noqa: B018
    back = load_error(pickle_form.dumps_error(caught.value, ["line\n"]), pickle_form)
    assert str(back) == str(caught.value)
    assert getattr(back, "obj", None) is None


def test_plain_values_are_plain_pickles(pickle_form):
    payload = pickle_form.dumps_call("obj", "member", (1, [datetime.date(2020, 1, 2)]), {})
    names = [arg for code, arg, _ in pickletools.genops(payload) if "UNICODE" in code.name]
    assert not [name for name in names if "pyroipc" in name]
    assert payload[:2] == b"\x80\x05"


def test_local_functions():
    def local():
        return 5

    with pytest.raises(SerializeError, match="function"):
        form("pickle", "Pyro4").dumps(local)
    for name in ("cloudpickle", "dill"):
        payload = form(name, "Pyro4").dumps([local])
        assert b"pyroipc.serializers" not in payload
        assert form(name, "Pyro4").loads(payload)[0]() == 5


def test_which_argument_cannot_be_pickled():
    with pytest.raises(SerializeError, match="argument 'k'"):
        form("pickle", "Pyro4").dumps_call("o", "m", (1,), {"k": (x for x in ())})
