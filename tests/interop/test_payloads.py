"""What we encode for Pyro4 and Pyro5 against what the released packages read, and the other way.

The rows of values are the type matrix of the formats. Nothing runs in another process: it is the
serializers of the packages that are asked.
"""

# ruff: noqa: E501 - tables of values read best with a row on a line

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import json
import math
import sqlite3
import struct
import subprocess
import sys
import uuid
import warnings

import msgpack
import numpy
import pytest

from pyroipc import errors
from pyroipc.errors import SecurityError, SerializeError
from pyroipc.protocol.remote_errors import RemoteTraceback, dress_error, dump_error, load_error
from pyroipc.serializers import classes, table
from pyroipc.serializers.wrapped import ExceptionWrapper
from pyroipc.uri import URI
from tests.support.pyro_manners import ADDRESS, PROXY_NAMES, REGISTERED, URI_NAMES, PlainManner

_before = dict(sys.modules)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import Pyro4.core
    import Pyro4.futures
    import Pyro4.util
    import Pyro5.client
    import Pyro5.core
    import Pyro5.errors
    import Pyro5.serializers

# The packages are there for the tests below and for no others, which may want ours in their place.
PACKAGES = {
    name: sys.modules[name] for name in sys.modules if name.partition(".")[0] in {"Pyro4", "Pyro5"}
}
for _name in PACKAGES.keys() - _before.keys():
    del sys.modules[_name]

DATA = ["serpent", "json", "marshal", "msgpack"]
FAMILIES = ["Pyro5", "Pyro4"]
PICKLES = ["pickle", "cloudpickle", "dill"]
ALL = [*((family, name) for family in FAMILIES for name in DATA), *(("Pyro4", n) for n in PICKLES)]
WRAPPERS = {"Pyro5": Pyro5.core._ExceptionWrapper, "Pyro4": Pyro4.futures._ExceptionWrapper}
ERRORS = {"Pyro5": Pyro5.errors, "Pyro4": Pyro4.errors}
URIS = {"Pyro5": Pyro5.core.URI, "Pyro4": Pyro4.core.URI}
PROXIES = {"Pyro5": Pyro5.client.Proxy, "Pyro4": Pyro4.core.Proxy}


class Peers:
    """One of our forms, and the serializer of the package that it talks to."""

    def __init__(self, family, name):
        self.family, self.name = family, name
        self.ours = table.get(name).for_pyro(PlainManner(family))
        if family == "Pyro5":
            self.theirs = Pyro5.serializers.serializers[name]
        else:
            self.theirs = Pyro4.util.get_serializer(name)
        self.hooks = type(self.theirs).__mro__[1]

    def __repr__(self):
        return f"{self.family} {self.name}"


@pytest.fixture(params=ALL, ids=" ".join)
def peers(request):
    return Peers(*request.param)


@pytest.fixture(params=[pair for pair in ALL if pair[1] in DATA], ids=" ".join)
def data_peers(request):
    return Peers(*request.param)


@pytest.fixture(params=PICKLES)
def pickle_peers(request):
    return Peers("Pyro4", request.param)


@pytest.fixture(autouse=True)
def _packages(monkeypatch):
    for name, module in PACKAGES.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def _our_objects():
    """Have URIs and proxies rebuilt as what can be compared, as the rooms above do it."""
    for name in URI_NAMES.values():
        classes.register_dict_to_class(name, lambda _, data: make_uri(*data["state"]))
    for name in PROXY_NAMES.values():
        classes.register_dict_to_class(name, lambda _, data: ("our proxy", data["state"]))
    yield
    for name in (*URI_NAMES.values(), *PROXY_NAMES.values()):
        classes.unregister_dict_to_class(name)


def make_uri(protocol, name, sockname, host, port):
    assert sockname is None
    return URI(f"{protocol}:{name}@{host}:{port}")


# --- values ------------------------------------------------------------------------------------

Colour = enum.Enum("Colour", {"RED": 5})
Number = enum.IntEnum("Number", {"SIX": 6})
Point = collections.namedtuple("Point", "x y")
NAIVE = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - they travel as local time
AWARE = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
IN_BASE64 = {"data": "YWI=", "encoding": "base64"}
ID = uuid.UUID(int=5)
ORDERED = collections.OrderedDict(a=1)
FUNCTION = type(lambda: 1)

SAME = object()
REFUSED = object()
"""The sender raises: a SerializeError of ours, anything of theirs."""
UNREADABLE = object()
"""The receiver of the package raises."""


def row(value, *, serpent=SAME, json=SAME, marshal=SAME, msgpack=SAME):
    expected = {"serpent": serpent, "json": json, "marshal": marshal, "msgpack": msgpack}
    return value, {key: value if wanted is SAME else wanted for key, wanted in expected.items()}


def everywhere(value, expected):
    return value, dict.fromkeys(DATA, expected)


MATRIX = [
    *(row(value) for value in (None, True, False, 0, -(2**63), 2**63, 2**70, 1.5, -0.0, "text", "é€😀")),
    *(row(value) for value in (math.inf, -math.inf, [], [1, [2, "x"]], {}, {"a": {"b": None}})),
    row(1 + 2j, json=REFUSED),
    row("\ud800", json=REFUSED, msgpack=REFUSED),
    row(b"ab", serpent=IN_BASE64, json=REFUSED),
    row(bytearray(b"ab"), serpent=IN_BASE64, json=REFUSED, marshal=b"ab", msgpack=b"ab"),
    row(memoryview(b"ab"), serpent=IN_BASE64, json=REFUSED, marshal=REFUSED, msgpack=b"ab"),
    row((1, (2,)), json=[1, [2]], msgpack=[1, [2]]),
    row({1, 2}, json=[1, 2], msgpack=[1, 2]),
    row(set(), serpent=(), json=[], msgpack=[]),
    row(frozenset([1]), serpent={1}, json=REFUSED, msgpack=REFUSED),
    row({1: 2}, json={"1": 2}, msgpack=UNREADABLE),
    row({(1, 2): 3}, json=REFUSED, msgpack=UNREADABLE),
    row({None: 1}, serpent=REFUSED, json={"null": 1}, msgpack=UNREADABLE),
    row(NAIVE, serpent=NAIVE.isoformat(), json=NAIVE.isoformat(), marshal=REFUSED),
    row(AWARE, serpent=AWARE.isoformat(), json=AWARE.isoformat(), marshal=REFUSED, msgpack=REFUSED),
    row(NAIVE.date(), serpent="2020-01-02", json="2020-01-02", marshal=REFUSED),
    row(datetime.time(1, 2), serpent="01:02:00", json=REFUSED, marshal=REFUSED, msgpack=REFUSED),
    row(datetime.timedelta(1), serpent=86400.0, json=REFUSED, marshal=REFUSED, msgpack=REFUSED),
    everywhere(decimal.Decimal("1.50"), "1.50"),  # marshal: only ours
    row(fractions.Fraction(1, 3), serpent=UNREADABLE, json=UNREADABLE, marshal=UNREADABLE, msgpack=REFUSED),
    everywhere(ID, str(ID)),
    everywhere(array.array("i", [1, 2]), [1, 2]),
    row(Colour.RED, serpent=5, json=REFUSED, marshal=REFUSED, msgpack=REFUSED),
    everywhere(Number.SIX, 6),  # marshal: only ours
    row(Point(1, 2), serpent=(1, 2), json=[1, 2], marshal=(1, 2), msgpack=[1, 2]),
    row(ORDERED, serpent=UNREADABLE, json={"a": 1}, marshal={"a": 1}, msgpack={"a": 1}),
    row(collections.deque([1]), serpent=[1], json=REFUSED, marshal=REFUSED, msgpack=REFUSED),
    row({"a": 1}.keys(), serpent=["a"], json=REFUSED, marshal=REFUSED, msgpack=REFUSED),
    everywhere(range(3), REFUSED),
    everywhere(len, REFUSED),
    everywhere(int, REFUSED),
    everywhere(lambda: 1, REFUSED),
    row(numpy.int64(3), serpent=REFUSED, json=REFUSED, marshal=REFUSED, msgpack=3),
    everywhere(numpy.array([1, 2]), REFUSED),
    everywhere(numpy.float64(1.5), 1.5),  # serpent and marshal: only ours
]  # fmt: skip
OURS_ONLY = {
    "serpent": (numpy.floating, FUNCTION),
    "json": (FUNCTION,),
    "marshal": (decimal.Decimal, enum.IntEnum, Point, type(ORDERED), numpy.floating, FUNCTION),
    "msgpack": (fractions.Fraction, FUNCTION),
}
"""What the packages refuse, lose or send unreadably, and we do not."""


def label(pair):
    shown = bytes(pair[0]) if isinstance(pair[0], memoryview) else pair[0]
    return f"{type(pair[0]).__name__}-{shown!r:.20}"


def identical(left, right):
    return repr(left) == repr(right) or (left == right and type(left) is type(right))


@pytest.mark.parametrize("pair", MATRIX, ids=label)
@pytest.mark.parametrize("nested", [False, True])
def test_values_that_we_send(data_peers, pair, nested):
    value, expected = pair[0], pair[1][data_peers.name]
    sent = [{"key": value}] if nested else value
    if expected is REFUSED:
        with pytest.raises(SerializeError):
            data_peers.ours.dumps(sent)
        return
    payload = data_peers.ours.dumps(sent)
    if expected is UNREADABLE:
        with pytest.raises((ValueError, Pyro4.errors.SerializeError, Pyro5.errors.SerializeError)):
            data_peers.theirs.loads(payload)
        return
    arrived = data_peers.theirs.loads(payload)
    assert identical(arrived, [{"key": expected}] if nested else expected)
    ours = data_peers.ours.loads(payload)
    assert identical(ours, arrived)


@pytest.mark.parametrize("pair", MATRIX, ids=label)
def test_arguments_that_we_send(data_peers, pair):
    value, expected = pair[0], pair[1][data_peers.name]
    if expected is REFUSED:
        with pytest.raises(SerializeError):
            data_peers.ours.dumps_call("obj", "member", (1, value), {})
        with pytest.raises(SerializeError):
            data_peers.ours.dumps_call("obj", "member", (), {"key": value})
        return
    payload = data_peers.ours.dumps_call("obj", "member", (1, value), {"key": value})
    if expected is UNREADABLE:
        return
    object_id, member, args, kwargs = data_peers.theirs.loadsCall(payload)
    assert (object_id, member) == ("obj", "member")
    if isinstance(args[1], msgpack.ExtType):
        assert data_peers.family == "Pyro4"  # its own trap: it has no hook for calls
        args, kwargs = (1, expected), {"key": expected}
    assert identical(list(args), [1, expected])
    assert identical(kwargs, {"key": expected})


@pytest.mark.parametrize("pair", MATRIX, ids=label)
def test_values_that_they_send(data_peers, pair):
    value, expected = pair[0], pair[1][data_peers.name]
    if isinstance(value, OURS_ONLY[data_peers.name]):
        return
    try:
        payload = data_peers.theirs.dumps(value)
        call = data_peers.theirs.dumpsCall("obj", "member", (value,), {})
        keyed = data_peers.theirs.dumpsCall("obj", "member", (), {"key": value})
    except Exception:
        assert expected is REFUSED
        return
    if expected is UNREADABLE:
        if data_peers.name == "msgpack" and (1, 2) not in value:  # other keys than texts
            assert data_peers.ours.loads(payload) == value
        else:
            with pytest.raises(SerializeError):
                data_peers.ours.loads(payload)
        return
    assert identical(data_peers.ours.loads(payload), expected)
    object_id, member, args, _ = data_peers.ours.loads_call(call)
    assert (object_id, member) == ("obj", "member")
    assert identical(list(args), [expected])
    assert identical(data_peers.ours.loads_call(keyed)[3], {"key": expected})


def test_not_a_number(peers):
    assert math.isnan(peers.theirs.loads(peers.ours.dumps([math.nan]))[0])
    assert math.isnan(peers.ours.loads(peers.theirs.dumps([math.nan]))[0])


@pytest.mark.parametrize("kwargs", [None, {}, {"k": [1]}])
@pytest.mark.parametrize("args", [(), (1, "two"), ([3, {"f": 4}],)])
def test_calls(peers, args, kwargs):
    payload = peers.ours.dumps_call("obj", "member", args, kwargs)
    if kwargs is None and peers.name == "marshal":
        assert peers.ours.loads_call(payload) == ("obj", "member", list(args), None)
        return  # its own trap: it can send and read no attributes
    object_id, member, args_there, kwargs_there = peers.theirs.loadsCall(payload)
    assert (object_id, member, list(args_there), kwargs_there) == (
        "obj",
        "member",
        list(args),
        kwargs,
    )
    payload = peers.theirs.dumpsCall("obj", "member", args, kwargs)
    object_id, member, args_here, kwargs_here = peers.ours.loads_call(payload)
    assert (object_id, member, list(args_here), kwargs_here) == (
        "obj",
        "member",
        list(args),
        kwargs,
    )


def test_extension_types_in_calls_are_read():
    for family in FAMILIES:
        pair = Peers(family, "msgpack")
        args = (2**70, 1 + 2j, NAIVE, NAIVE.date())
        payload = pair.theirs.dumpsCall("obj", "member", args, {})
        assert pair.ours.loads_call(payload)[2] == list(args)


@pytest.mark.parametrize(
    "value", [(1, {2}, b"x"), NAIVE, fractions.Fraction(1, 3), Number.SIX, range(3), len, int]
)
def test_values_of_the_pickle_family(pickle_peers, value):
    if pickle_peers.name == "dill" and isinstance(value, enum.Enum):
        return  # it warns about enums that are made by a function
    assert pickle_peers.theirs.loads(pickle_peers.ours.dumps(value)) == value
    assert pickle_peers.ours.loads(pickle_peers.theirs.dumps(value)) == value


# --- objects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", REGISTERED)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [1, (x, {"k": x})], lambda x: {"a": [x]}])
def test_proxies_for_our_objects(peers, cls, wrap):
    instance = cls()
    arrived = peers.theirs.loads(peers.ours.dumps(wrap(instance)))
    _, _, args, kwargs = peers.theirs.loadsCall(
        peers.ours.dumps_call("obj", "member", (wrap(instance),), {"key": wrap(instance)})
    )
    for place in (arrived, args[0], kwargs["key"]):
        while not isinstance(place, PROXIES[peers.family]):
            place = place.get("a") if isinstance(place, dict) else place[-1]
            if isinstance(place, dict):
                place = place.get("k", place)
        assert str(place._pyroUri) == ADDRESS
        assert set(place._pyroMethods) == {"once", "method"}
        assert set(place._pyroOneway) == {"once"}
        assert set(place._pyroAttrs) == {"attribute"}
        if peers.family == "Pyro4":
            assert place._pyroHmacKey == b"key"


def test_uris_of_ours(peers):
    for text in ("PYRO:obj@host:1", "PYRONAME:name@host", "PYRO:obj@./u:/tmp/socket"):
        uri = URI(text)
        arrived = peers.theirs.loads(peers.ours.dumps([uri, uri]))
        assert [type(item) for item in arrived] == [URIS[peers.family]] * 2
        assert arrived[0] == arrived[1] == URIS[peers.family](text)


def test_uris_and_proxies_of_theirs(peers):
    uri = URIS[peers.family]("PYRO:obj@host:1")
    proxy = PROXIES[peers.family](uri)
    proxy._pyroMethods = {"method"}
    proxy._pyroHandshake = "hi"
    values = [uri, proxy, {"again": uri}]
    if peers.name == "marshal":  # it looks into no containers
        first, second = map(peers.ours.loads, map(peers.theirs.dumps, values[:2]))
    else:
        first, second, third = peers.ours.loads(peers.theirs.dumps(values))
        assert third == {"again": first}
        assert (third["again"] is first) == (peers.name in PICKLES)
    assert (type(first), str(first)) == (URI, "PYRO:obj@host:1")
    name, state = second
    assert (name, state[0], list(state[2])) == ("our proxy", "PYRO:obj@host:1", ["method"])
    assert state[4 if peers.family == "Pyro5" else 6] == "hi"


def test_key_of_a_pickled_proxy(pickle_peers):
    proxy = Pyro4.core.Proxy("PYRO:obj@host:1")
    proxy._pyroHmacKey = b"key"
    name, state = pickle_peers.ours.loads(pickle_peers.theirs.dumps(proxy))
    assert (name, state[5]) == ("our proxy", "b64:a2V5")


class Thing:
    def __init__(self, number=3):
        self.number = number


Thing.__module__ = "app"


def test_an_instance_for_a_converter_of_theirs(data_peers):
    data_peers.hooks.register_dict_to_class("app.Thing", lambda name, data: (name, data["number"]))
    try:
        arrived = data_peers.theirs.loads(data_peers.ours.dumps([Thing()]))
    finally:
        data_peers.hooks.unregister_dict_to_class("app.Thing")
    assert arrived == [("app.Thing", 3)]


def test_our_converters(data_peers):
    classes.register_class_to_dict(
        Thing, lambda thing: {"__class__": "a.Thing", "n": thing.number}
    )
    classes.register_dict_to_class("a.Thing", lambda name, data: Thing(data["n"]))
    data_peers.hooks.register_dict_to_class("a.Thing", lambda name, data: Thing(data["n"]))
    try:
        payload = data_peers.ours.dumps([Thing(4)])
        assert data_peers.theirs.loads(payload)[0].number == 4
        assert data_peers.ours.loads(payload)[0].number == 4
    finally:
        classes.unregister_class_to_dict(Thing)
        classes.unregister_dict_to_class("a.Thing")
        data_peers.hooks.unregister_dict_to_class("a.Thing")


def test_an_instance_that_is_unknown(data_peers):
    with pytest.raises((Pyro4.errors.SerializeError, Pyro5.errors.SerializeError)):
        data_peers.theirs.loads(data_peers.ours.dumps(Thing()))
    payload = data_peers.theirs.dumps(Thing())
    if data_peers.family == "Pyro4" and data_peers.name != "serpent":
        assert data_peers.ours.loads(payload) == {"number": 3}  # its own trap: without a class
    else:
        with pytest.raises(SerializeError, match=r"app\.Thing"):
            data_peers.ours.loads(payload)


# --- exceptions --------------------------------------------------------------------------------


def raised(exception):
    """Return an exception that has a traceback."""
    try:
        raise exception
    except BaseException as error:
        return error


class Custom(ValueError):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.a = a
        self.secret = object()


Custom.__module__ = "app"


def json_error():
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    return caught.value


STANDARD = [
    (ValueError("boom", 5), ValueError),
    (KeyError("key"), KeyError),
    (StopIteration(3), StopIteration),
    (FileNotFoundError(2, "No such file", "name"), FileNotFoundError),
    (TimeoutError("Python's"), TimeoutError),
    (UnicodeEncodeError("ascii", "é", 0, 1, "bad"), UnicodeEncodeError),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeError),
    (SyntaxError("bad", ("file", 1, 2, "text")), SyntaxError),
    (ExceptionGroup("group", [ValueError(1)]), Exception),
    (sqlite3.OperationalError("locked"), sqlite3.OperationalError),
    (struct.error("unpack"), Exception),
    (subprocess.CalledProcessError(2, "command"), Exception),
    (json_error(), ValueError),
    (ImportError("no module"), ImportError),
]


@pytest.mark.parametrize(("exception", "cls"), STANDARD, ids=lambda item: repr(item)[:30])
def test_standard_exceptions_that_we_send(peers, exception, cls):
    exception.extra = [1, {"k": "v"}]
    arrived = peers.theirs.loads(dump_error(raised(exception), peers.ours))
    assert isinstance(arrived, cls)
    assert str(arrived) == str(exception)
    assert arrived.extra == [1, {"k": "v"}]
    assert str(exception.args[0]) in "".join(arrived._pyroTraceback)
    assert not hasattr(exception, "_pyroTraceback")
    del exception.extra


PYRO_NAMES = [
    (errors.PyroError, "PyroError"), (errors.CommunicationError, "CommunicationError"),
    (errors.ConnectionClosedError, "ConnectionClosedError"), (errors.TimeoutError, "TimeoutError"),
    (errors.ProtocolError, "ProtocolError"), (errors.MessageTooLargeError, "MessageTooLargeError"),
    (errors.SerializeError, "SerializeError"), (errors.NamingError, "NamingError"),
    (errors.DaemonError, "DaemonError"), (errors.SecurityError, "SecurityError"),
    (errors.BusyError, "CommunicationError"), (errors.DrainingError, "CommunicationError"),
    (errors.ConnectError, "CommunicationError"), (errors.ForkedConnectionError, "CommunicationError"),
    (errors.PeerDiedError, "ConnectionClosedError"), (errors.VersionMismatchError, "ProtocolError"),
    (errors.DeadlockError, "PyroError"), (errors.StartupError, "PyroError"), (errors.RemoteError, "PyroError"),
    (errors.TransferError, "PyroError"), (errors.FileChangedError, "PyroError"),
    (errors.DigestMismatchError, "PyroError"), (errors.DiskFullError, "PyroError"),
]  # fmt: skip


def test_all_of_our_errors_are_told(peers):
    assert {cls for cls, _ in PYRO_NAMES} == {getattr(errors, name) for name in errors.__all__}
    for cls, name in PYRO_NAMES:
        arrived = peers.theirs.loads(dump_error(raised(cls("text")), peers.ours))
        assert type(arrived) is getattr(ERRORS[peers.family], name)
        assert (arrived.args, type(arrived._pyroTraceback)) == (("text",), list)


def test_attributes_of_our_errors(peers):
    error = errors.PeerDiedError("died", pid=3, exitcode=-9)
    arrived = peers.theirs.loads(dump_error(error, peers.ours))
    assert (arrived.pid, arrived.exitcode) == (3, -9)


def test_what_would_end_the_peer(peers):
    for exception in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        arrived = peers.theirs.loads(dump_error(raised(exception), peers.ours))
        assert type(arrived) is ERRORS[peers.family].PyroError
        assert str(arrived).startswith(type(exception).__name__)


def test_exceptions_of_a_program_keep_their_names(data_peers):
    def convert(name, data):
        return name, data["args"], sorted(data["attributes"]), data["attributes"]["secret"]

    data_peers.hooks.register_dict_to_class("app.Custom", convert)
    try:
        arrived = data_peers.theirs.loads(dump_error(raised(Custom(1, 2)), data_peers.ours))
    finally:
        data_peers.hooks.unregister_dict_to_class("app.Custom")
    assert arrived[0] == "app.Custom"
    assert list(arrived[1]) == ["1 and 2"]
    assert arrived[2] == ["_pyroTraceback", "a", "secret"]
    assert arrived[3].startswith("<object object")


class Wants(Exception):
    """Pickle would call this class with its args, which it does not take."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.a = a
        self.unsendable = (item for item in ())


def test_exceptions_of_a_program_in_pickles(pickle_peers):
    arrived = pickle_peers.theirs.loads(dump_error(raised(Wants(1, 2)), pickle_peers.ours))
    assert type(arrived) is Wants
    assert (str(arrived), arrived.a) == ("1 and 2", 1)
    assert arrived.unsendable.startswith("<generator")
    assert "1 and 2" in arrived._pyroTraceback[-1]


def test_an_exception_whose_class_cannot_be_pickled():
    class Local(ValueError):
        pass

    pair = Peers("Pyro4", "pickle")
    arrived = pair.theirs.loads(dump_error(raised(Local("text")), pair.ours))
    assert type(arrived) is ValueError
    assert str(arrived) == "text"


def test_an_exception_that_cannot_be_sent(peers):
    error = ValueError("text")

    def fail(_):
        raise RuntimeError("no")

    classes.register_class_to_dict(ValueError, fail)
    try:
        arrived = peers.theirs.loads(dump_error(raised(error), peers.ours))
    finally:
        classes.unregister_class_to_dict(ValueError)
    if peers.name in PICKLES:
        assert type(arrived) is ValueError  # converters are not for these
    else:
        assert type(arrived) is ERRORS[peers.family].PyroError
        assert "Error serializing exception: no. Original exception" in str(arrived)
        assert arrived._pyroTraceback[-1] == "ValueError: text\n"


THEIRS = [
    (lambda _: ValueError("boom", 5), ValueError),
    (lambda _: StopIteration(3), StopIteration),
    (lambda _: TimeoutError("Python's"), TimeoutError),
    (lambda e: e.TimeoutError("Pyro's"), errors.TimeoutError),
    (lambda e: e.SecurityError("no"), errors.SecurityError),
    (lambda e: e.ConnectionClosedError("gone"), errors.ConnectionClosedError),
    (lambda _: sqlite3.OperationalError("locked"), sqlite3.OperationalError),
    (lambda _: SystemExit(3), errors.RemoteError),
    (lambda _: KeyboardInterrupt("x"), errors.RemoteError),
]


@pytest.mark.parametrize(("make", "cls"), THEIRS)
def test_exceptions_of_theirs(peers, make, cls):
    exception = make(ERRORS[peers.family])
    exception._pyroTraceback = ["one\n", "two\n"]
    exception.extra = {"k": [1]}
    error = load_error(peers.theirs.dumps(exception), peers.ours)
    assert isinstance(error, cls)
    assert isinstance(error, Exception)
    assert (error.args, error.extra) == (exception.args, {"k": [1]})
    assert error._pyroTraceback == ["one\n", "two\n"]
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "two" in str(error.__cause__)


def test_unknown_exceptions_of_theirs(data_peers):
    exception = Custom(1, 2)
    del exception.secret
    exception._pyroTraceback = ["line\n"]
    error = load_error(data_peers.theirs.dumps(exception), data_peers.ours)
    assert isinstance(error, errors.RemoteError)
    assert (error.remote_class, error.args, error.a) == ("app.Custom", ("1 and 2",), 1)


def test_a_stream_begins_with_an_exception_without_a_traceback(peers):
    error = ERRORS[peers.family].ProtocolError("result of call is an iterator")
    error._pyroTraceback = None
    arrived = load_error(peers.theirs.dumps(error), peers.ours)
    assert (type(arrived), arrived.__cause__) == (errors.ProtocolError, None)
    payload = peers.ours.dumps_error(errors.ProtocolError("result of call is an iterator"), None)
    assert type(peers.theirs.loads(payload)) is ERRORS[peers.family].ProtocolError


# --- batches and blobs -------------------------------------------------------------------------


def test_wrapped_exceptions_that_we_send(peers):
    error = ValueError("boom", 5)
    error.extra = (1, "x")
    error.secret = (item for item in ())
    results = [1, ExceptionWrapper(error, ["line\n"])]
    number, wrapper = peers.theirs.loads(peers.ours.dumps(results))
    assert (number, type(wrapper)) == (1, WRAPPERS[peers.family])
    assert type(wrapper.exception) is ValueError
    assert wrapper.exception.args == ("boom", 5)
    assert list(wrapper.exception.extra) == [1, "x"]
    assert wrapper.exception.secret.startswith("<generator")
    assert wrapper.exception._pyroTraceback == ["line\n"]
    assert not hasattr(error, "_pyroTraceback")


def test_wrapped_errors_of_ours(peers):
    wrapper = ExceptionWrapper(errors.BusyError("busy"), ["line\n"])
    (arrived,) = peers.theirs.loads(peers.ours.dumps([wrapper]))
    assert type(arrived.exception) is ERRORS[peers.family].CommunicationError


@pytest.mark.parametrize("exception", [ValueError("boom", 5), SystemExit(3)])
def test_wrapped_exceptions_of_theirs(peers, exception):
    exception._pyroTraceback = ["line\n"]
    exception.extra = "kept"
    wrapper = WRAPPERS[peers.family](exception)
    if peers.name == "marshal":  # it cannot do batches
        payload = peers.theirs.dumps(wrapper)
        wrapped = peers.ours.loads(payload)
    else:
        _, wrapped = peers.ours.loads(peers.theirs.dumps([1, wrapper]))
    assert type(wrapped) is ExceptionWrapper
    error = dress_error(wrapped.exception)
    assert isinstance(error, ValueError if type(exception) is ValueError else errors.RemoteError)
    assert (error.args, error.extra, error._pyroTraceback) == (exception.args, "kept", ["line\n"])


@pytest.mark.parametrize("data", [[1, 2, 3], "text", 5, None, {"a": [1]}])
def test_blobs(peers, data):
    payload = peers.ours.dumps_blob("obj", "member", data)
    assert list(peers.theirs.loadsCall(payload)) == ["obj", "member", data, {}]
    if peers.name == "marshal" and not isinstance(data, list):
        return  # its own trap: it can send lists only
    assert peers.ours.loads_blob(peers.theirs.dumpsCall("obj", "member", data, {})) == data


def test_what_is_no_blob(peers):
    for value in (None, 5, ["obj", "member", 1], ["obj", 1, 2, {}], {"object": "x"}):
        with pytest.raises(SerializeError, match="not a call"):
            peers.ours.loads_blob(peers.theirs.dumps(value))


# --- what a stranger may send ------------------------------------------------------------------


def test_double_underscores_are_refused(data_peers):
    payload = data_peers.theirs.dumps({"__class__": "app.__secret__", "x": 1})
    with pytest.raises(SecurityError):
        data_peers.ours.loads(payload)


def test_pyro5_has_no_pickle():
    for name in PICKLES:
        with pytest.raises(SerializeError, match="Pyro5 has no serializer"):
            table.get(name).for_pyro(PlainManner("Pyro5"))
