"""Round trips of any plain value, and any bytes at all, for the formats that peers may send."""

import ast
import contextlib
import marshal
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyroipc.errors import SecurityError, SerializeError
from pyroipc.serializers import classes, marshal_reader, table
from pyroipc.serializers.exceptions import exception_to_dict, rebuild_exception
from tests.support.pyro_manners import PlainManner
from tests.support.searching import examples

DATA = [name for name in table.names() if table.trust_of(name) == "data"]

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
common = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.dictionaries(text.filter(lambda key: key != "__class__"), inner)
    ),
    max_leaves=30,
)
"""What every format gives back as it was."""

keys = st.one_of(st.booleans(), st.integers(), text, st.floats(allow_nan=False))
any_text = st.text(st.characters())
serpent_values = st.recursive(
    scalars | any_text | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(keys | st.tuples(keys), min_size=1)
        | st.dictionaries(keys | st.tuples(keys, any_text), inner)
    ),
    max_leaves=30,
)
msgpack_values = st.recursive(
    scalars | st.binary() | st.complex_numbers(allow_nan=False) | st.dates(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.integers(-(2**63), 2**64 - 1) | text, inner)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("name", table.names())
@given(value=common)
def test_plain_values(name, value):
    serializer = table.get(name)
    assert serializer.loads(serializer.dumps(value)) == value
    call = serializer.loads_call(serializer.dumps_call("o", "m", (value, 1), {"k": value}))
    assert (call[0], call[1], list(call[2]), call[3]) == ("o", "m", [value, 1], {"k": value})


def same(left, right):
    """Compare what may hold infinities in complex numbers, and the types as well."""
    return repr(left) == repr(right) or left == right


@given(serpent_values)
@example({"__clas": ["s__"], "a\\": "'\"", "b": {(1, "'"): {-0.0, True}}})
def test_serpent_values(value):
    serializer = table.get("serpent")
    payload = serializer.dumps(value)
    assert same(serializer.loads(payload), value)
    assert same(ast.literal_eval(payload.decode("utf-8")), value)


@given(serpent_values)
def test_serpent_reads_any_repr(value):
    literal = repr(value)
    if "inf" in literal or "nan" in literal:
        return
    assert same(table.get("serpent").loads(literal.encode("utf-8", "backslashreplace")), value)


@given(msgpack_values)
def test_msgpack_values(value):
    serializer = table.get("msgpack")
    assert serializer.loads(serializer.dumps(value)) == value
    padded = [value, "x" * 300, [[]] * 250]  # long and nested enough to be scanned
    assert serializer.loads(serializer.dumps(padded)) == padded


def decode(serializer, data):
    for load in (serializer.loads, serializer.loads_call):
        with contextlib.suppress(SerializeError, SecurityError):
            load(data)


@pytest.mark.parametrize("name", DATA)
@given(data=st.binary(max_size=400))
def test_any_bytes(name, data):
    decode(table.get(name), data)


ALPHABET = "[](){},:'\"\\\n b01.ej-+xuNTrueFalse_#é\u20ac\0"


@given(st.text(ALPHABET, max_size=60))
@examples(500)
def test_serpent_agrees_with_python_or_refuses(source):
    try:
        value = table.get("serpent").loads(source.encode("utf-8"))
    except (SerializeError, SecurityError):
        return
    if source.startswith("#") or "__class__" in source:
        return
    # Python refuses some more: "01", white space at the begin of a line.
    try:
        expected = ast.literal_eval(source.strip())
    except (ValueError, SyntaxError):
        return
    assert same(value, expected)


@given(st.text('[]{},:"\\ 01.e-+truefalsn\n', max_size=60))
def test_json_like_text(source):
    decode(table.get("json"), source.encode("utf-8"))


values = st.none() | st.integers() | text | st.lists(st.integers() | text)
names = st.one_of(
    st.sampled_from(["ValueError", "OSError", "UnicodeDecodeError", "SyntaxError", "ImportError",
                     "StopIteration", "ExceptionGroup", "SystemExit", "builtins.KeyError",
                     "Pyro5.errors.PyroError", "__main__.X", "struct.error", "zlib.error"]),
    st.text(),
)  # fmt: skip


@given(
    name=names,
    args=st.lists(values | st.binary(), max_size=6),
    attributes=st.dictionaries(text, values),
    bases=st.lists(names) | values,
)
def test_any_exception_dict_makes_a_harmless_exception(name, args, attributes, bases):
    data = {
        "__class__": name,
        "__exception__": True,
        "args": args,
        "attributes": attributes,
        "bases": bases,
    }
    error = classes.dict_to_class(data)
    assert isinstance(error, Exception)
    str(error), repr(error)
    again = rebuild_exception(exception_to_dict(error))
    assert isinstance(again, Exception)


@given(st.floats())
def test_floats_exactly(value):
    for name in DATA:
        back = table.get(name).loads(table.get(name).dumps([value]))[0]
        assert math.isnan(back) if math.isnan(value) else str(back) == str(value)


# --- the forms for peers that are Pyro -----------------------------------------------------------


@pytest.mark.parametrize("name", table.names())
@given(value=common)
def test_plain_values_for_pyro(name, value):
    form = table.get(name).for_pyro(PlainManner("Pyro4"))
    assert form.loads(form.dumps(value)) == value
    call = form.loads_call(form.dumps_call("o", "m", (value, 1), {"k": value}))
    assert (call[0], call[1], list(call[2]), call[3]) == ("o", "m", [value, 1], {"k": value})
    assert form.loads_blob(form.dumps_blob("o", "m", value)) == value
    if name not in {"pickle", "cloudpickle", "dill"}:
        assert table.get(name).loads(form.dumps(value)) == value


@given(serpent_values)
def test_serpent_writes_for_pyro_what_it_writes_plain(value):
    plain = table.get("serpent")
    form = plain.for_pyro(PlainManner("Pyro5"))
    assert form.dumps(value) == plain.dumps(value)
    assert form.dumps_call("o", "m", (value,), None) == plain.dumps_call("o", "m", (value,), None)


@pytest.mark.parametrize("name", [*DATA, "marshal"])
@given(args=st.lists(values | st.binary()), extra=st.dictionaries(text, values | st.binary()))
def test_any_exception_for_pyro(name, args, extra):
    error = ValueError(*args)
    vars(error).update(extra)
    form = table.get(name).for_pyro(PlainManner("Pyro5"))
    back = form.loads_error(form.dumps_error(error, ["line"]))
    assert type(back) is ValueError
    assert len(back.args) == len(args)
    assert back._pyroTraceback == ["line"]


# --- marshal's format, read by ourselves ---------------------------------------------------------

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
marshalled = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner, max_size=2).map(lambda items: [items, tuple(items), items])  # shared
        | st.dictionaries(hashable, inner)
        | st.sets(hashable)
    ),
    max_leaves=20,
)
versions = st.integers(0, 4)


@given(value=marshalled, version=versions)
def test_what_marshal_writes_is_read(value, version):
    payload = marshal.dumps(value, version)
    back = marshal_reader.read(payload)
    assert back == value
    assert marshal.dumps(back, 0) == marshal.dumps(marshal.loads(payload), 0) or "{" in repr(value)


@given(marshalled)
def test_what_is_written_is_read(value):
    assert marshal.loads(marshal_reader.write(value)) == value


def read_or_refuse(data):
    with contextlib.suppress(SerializeError):
        repr(marshal_reader.read(data))


@given(st.binary(max_size=300))
@examples(500)
def test_any_bytes_of_marshal(data):
    read_or_refuse(data)


@given(
    st.lists(
        st.sampled_from([bytes([byte]) for byte in b"NTFSilgfyxsutaAzZ()[]<>{r0"])
        | st.binary(max_size=5)
    )
)
@examples(500)
def test_marshal_like_bytes(parts):
    read_or_refuse(b"".join(parts))


@given(
    value=marshalled,
    version=versions,
    changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
)
def test_changed_bytes_of_marshal(value, version, changes):
    data = bytearray(marshal.dumps(value, version))
    for position, byte in changes:
        data[position % len(data)] = byte
    read_or_refuse(bytes(data))
    read_or_refuse(bytes(data[: len(data) // 2]))
