"""What every serializer promises, run over the table."""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import math
import threading

import pytest

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage, Serializer
from pyroipc.serializers.pyro import PyroForm
from pyroipc.serializers.wrapped import ExceptionWrapper
from tests.support.pyro_manners import REGISTERED, PlainManner

SAME = [
    None, True, False, 0, -1, 255, 2**31, -(2**63), 2**70, 1.5, -0.0, 1e300, "", "text", "é€😀", "it's",
    [], [1, [2, [3]]], {}, {"a": 1, "b": {"c": [None]}}, ["x" * 100_000], list(range(1000)),
]  # fmt: skip
"""Values that arrive as themselves in every format."""


DATA = ["serpent", "json", "marshal", "msgpack"]
FORMS = [
    *table.names(),
    *(f"{name} typed" for name in DATA),
    *(f"{name} Pyro5" for name in DATA),
    *(f"{name} Pyro4" for name in table.names()),
]


def made(form):
    name, _, kind = form.partition(" ")
    if name == "dill":
        pytest.importorskip("dill")
    if kind == "typed":
        return table.get(name).for_connection(PeerImage())
    return table.get(name).for_pyro(PlainManner(kind)) if kind else table.get(name)


@pytest.fixture(params=FORMS)
def serializer(request):
    return made(request.param)


@pytest.fixture(params=[form for form in FORMS if "Pyro" in form])
def pyro_form(request):
    return made(request.param)


def wrapped(payload):
    """Give the payload as each of the types that decoding accepts."""
    yield payload
    yield bytearray(payload)
    yield memoryview(payload)
    yield memoryview(bytearray(b"<" + payload + b">"))[1:-1]


def test_agrees_with_the_table(serializer):
    assert isinstance(serializer, Serializer)
    assert serializer.id == table.id_of(serializer.name)
    assert serializer.trust == table.trust_of(serializer.name)
    plain = not serializer.is_typed and not isinstance(serializer, PyroForm)
    assert (table.get_by_id(serializer.id) is serializer) == plain
    assert 0 < serializer.id < 256


@pytest.mark.parametrize("value", SAME, ids=lambda value: repr(value)[:20])
def test_round_trip(serializer, value):
    payload = serializer.dumps(value)
    assert type(payload) is bytes
    for data in wrapped(payload):
        back = serializer.loads(data)
        assert back == value
        assert type(back) is type(value)


def test_not_a_number(serializer):
    assert math.isnan(serializer.loads(serializer.dumps(float("nan"))))
    assert serializer.loads(serializer.dumps([float("inf"), -math.inf])) == [math.inf, -math.inf]


@pytest.mark.parametrize("kwargs", [None, {}, {"key": "value", "other": [1, {"x": None}]}])
@pytest.mark.parametrize("args", [(), (1, "two", [3.0], {"four": None})])
def test_calls(serializer, args, kwargs):
    payload = serializer.dumps_call("object", "member", args, kwargs)
    for data in wrapped(payload):
        object_id, member, args_back, kwargs_back = serializer.loads_call(data)
        assert (object_id, member, list(args_back)) == ("object", "member", list(args))
        assert kwargs_back == kwargs


def test_nothing_of_the_input_is_kept_or_changed(serializer):
    value = {"text": "t" * 1000, "list": ["a" * 100, 2**70]}
    for payload in (serializer.dumps(value), serializer.dumps_call("o", "m", (value,), {})):
        data = bytearray(payload)
        back = (serializer.loads if payload == serializer.dumps(value) else serializer.loads_call)(
            data
        )
        assert data == payload
        data[:] = bytes(len(data))  # would raise BufferError if a view were alive
        data.clear()
        assert value in (back, *(back[2] if isinstance(back, tuple) else ()))


@pytest.mark.parametrize("cut", [0, 1, 0.25, 0.5, 0.75, -1])
def test_cut_off_payloads_are_refused(serializer, cut):
    payload = serializer.dumps({"a": [1, 2.5, "text", None], "b": {"c": "d" * 50}})
    end = int(cut * len(payload)) if isinstance(cut, float) else cut
    for load in (serializer.loads, serializer.loads_call):
        with pytest.raises(SerializeError):
            load(payload[:end])


@pytest.mark.parametrize(
    "value", [None, 5, "text", [], [1, 2, 3], {"object": "x"}, ["o", "m", 1, {}]]
)
def test_values_that_are_no_calls(serializer, value):
    with pytest.raises(SerializeError):
        serializer.loads_call(serializer.dumps(value))


def test_what_cannot_be_sent_is_named(serializer):
    culprit = (number for number in [1])
    for value in (culprit, [1, {"k": culprit}]):
        with pytest.raises(SerializeError, match="generator"):
            serializer.dumps(value)
    with pytest.raises(SerializeError, match="generator"):
        serializer.dumps_call("o", "m", (culprit,), {})


def test_input_values_are_not_changed(serializer):
    value = {"a": [1, {"b": "c"}], "d": "e"}
    serializer.dumps(value)
    serializer.dumps_call("o", "m", ([1, 2],), value)
    assert value == {"a": [1, {"b": "c"}], "d": "e"}


def test_for_connection_is_a_serializer_that_understands_itself(serializer):
    for peer in (PeerImage(), PeerImage(shares_main=True, generation=1)):
        tuned = serializer.for_connection(peer)
        assert tuned.id == serializer.id
        assert tuned.loads(tuned.dumps([1, "x"])) == [1, "x"]


def test_all_threads_may_use_it_at_once(serializer):
    values = [[index, "x" * index, {"k": [index] * 50}] for index in range(8)]
    wrong = []

    def work(value):
        results = (serializer.loads(serializer.dumps(value)) for _ in range(100))
        wrong.extend(result for result in results if result != value)

    threads = [threading.Thread(target=work, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_depth_of_data_formats(serializer):
    """Two hundred levels are read, more are refused (whatever the sender thinks)."""
    if serializer.trust != "data":
        return
    value = 1
    for _ in range(200):
        value = [value]
    payload = serializer.dumps(value)
    assert serializer.loads(payload) == value
    deeper = {
        "serpent": lambda depth: b"[" * depth + b"1" + b"]" * depth,
        "json": lambda depth: b"[" * depth + b"1" + b"]" * depth,
        "msgpack": lambda depth: b"\x91" * depth + b"\x01",
    }[serializer.name]
    for depth in (201, 202, 500, 1000, 5000, 100_000):
        with pytest.raises(SerializeError):
            serializer.loads(deeper(depth))


def test_garbage(serializer):
    for data in (b"", b"\x00", b"\xff" * 100, b"hello", b"[", b"GET / HTTP/1.1\r\n\r\n"):
        with pytest.raises((SerializeError, SecurityError)):
            serializer.loads_call(data)


# --- the forms for peers that are Pyro -----------------------------------------------------------


def test_plain_values_are_not_asked_about(pyro_form):
    manner = PlainManner("Pyro4")
    form = table.get(pyro_form.name).for_pyro(manner)
    form.dumps([1, "x", 2.5, None, True, [{"k": [1, ()]}, {"n": {}}], list(range(100))])
    form.dumps_call("object", "member", (1, ["x"], {"k": None}), {"key": [1]})
    assert manner.asked == []


@pytest.mark.parametrize("cls", REGISTERED)
def test_objects_are_asked_about_before_anything_else(pyro_form, cls):
    manner = PlainManner("Pyro4")
    form = table.get(pyro_form.name).for_pyro(manner)
    value = cls()
    form.dumps_call("object", "member", (value, [value, {"k": (value,)}]), {"key": value})
    form.dumps(value)
    asked = [item for item in manner.asked if item is value]
    assert len(asked) >= (2 if form.name in {"pickle", "cloudpickle", "dill"} else 5)


def test_what_the_manner_refuses_is_refused(pyro_form):
    class Refused(SecurityError):
        pass

    class Manner(PlainManner):
        def describe(self, value):
            raise Refused("no address")

    form = table.get(pyro_form.name).for_pyro(Manner("Pyro4"))
    for send in (form.dumps, lambda value: form.dumps_call("o", "m", (value,), {})):
        with pytest.raises(Refused, match="no address"):
            send([REGISTERED[0]()])


@pytest.mark.parametrize("data", [None, 5, "text", [1, 2], {"a": [1]}])
def test_blobs_hold_any_value(pyro_form, data):
    payload = pyro_form.dumps_blob("object", "member", data)
    for wrapped_payload in wrapped(payload):
        assert pyro_form.loads_blob(wrapped_payload) == data
    if not isinstance(data, list):
        with pytest.raises(SerializeError, match="not a call"):
            pyro_form.loads_call(payload)


def test_no_blobs(pyro_form):
    payloads = [pyro_form.dumps(value) for value in (None, [1, 2, 3, 4], ["o", "m"], {"o": 1})]
    for payload in (*payloads, b"", b"\xff"):
        with pytest.raises(SerializeError):
            pyro_form.loads_blob(payload)


def test_errors(pyro_form):
    error = ValueError("boom", [1])
    payload = pyro_form.dumps_error(error, ["line\n"])
    back = pyro_form.loads_error(payload)
    assert (type(back), list(back.args), back._pyroTraceback) == (
        ValueError,
        ["boom", [1]],
        ["line\n"],
    )
    assert vars(error) == {}


def test_wrapped_errors(pyro_form):
    error = KeyError("boom")
    (back,) = pyro_form.loads(pyro_form.dumps([ExceptionWrapper(error, ["line\n"])]))
    assert type(back) is ExceptionWrapper
    assert (type(back.exception), back.exception.args) == (KeyError, ("boom",))
    assert back.exception._pyroTraceback == ["line\n"]
    assert vars(error) == {}
    assert "KeyError" in repr(back)


def test_errors_that_hold_themselves(pyro_form):
    error = ValueError("boom")
    error.args = ("boom", error)
    error.me = error
    back = pyro_form.loads_error(pyro_form.dumps_error(error, ["line\n"]))
    assert isinstance(back, ValueError)
    assert "boom" in str(back.args[0])
