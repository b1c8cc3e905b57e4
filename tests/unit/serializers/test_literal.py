"""pyroipc/serializers/literal.py: the same answers as ast.literal_eval, or a refusal."""

# ruff: noqa: E501 - tables of payloads read best with a payload on a line

import ast
import math
import sys

import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import literal, table

VALID = [
    "None", "True", "False", "0", "-1", "12345678901234567890123", "1.5", "-0.0", "1e+16",
    "1e-05", "1.5e+300", "1e30000", "-1e30000", "(1.0+2.0j)", "(-1.5-2e-05j)", "(0.0+1e30000j)",
    "''", '""', "'a'", '"it\'s"', "'say \"x\"'", r"'\\'", r"'\''", r'"\""', r"'\n\r\t\a\b\f\v'",
    r"'\x00\xff\u20ac\U0001f600\N{SNOWMAN}'", r"'\0\7\12\377'", "'é€😀'", r"'é\n€\\😀'", r"'\udc80'",
    "b''", "b'abc'", 'b"it\'s"', r"b'\x00\xff\\\'\n'", r"b'\\u20ac'",
    "()", "(1,)", "(1,2)", "[]", "[1]", "[1,2,3]", "{}", "{1}", "{1,2}", "{'a':1}",
    "{'a':1,'b':2}", "{1:2,3:4}", "{'a':'b','c':'d'}", "{(1,2):[3],b'x':{'y':()}}",
    "['a','b','c']", "['a',\"b\",'c\\n','d']", "[1,'a',2.5,None,True,(1,),[],{}]", "('x',1,'y',2)",
    "[[1,2],[3,4],[[]]]", "(((())))", "((),)", "[(),(),()]", "[{},{}]", "{'a':{},'b':[]}",
    "[True,False,None]", "{True:None,None:True}", "{'a':True,'b':None}", "{1:'a',2:'b'}",
    "{'data': 'AGE=', 'encoding': 'base64'}", "[ 1 , 2 ]", "{ 'a' : 1 , 'b' : [ ] }", "( 1 , )",
    "[\n  1,\n  'a'\n]", "{\n}", "[1,]", "{1,}", "{'a':1,}", "(1)", "('a')", "((1,2))", "[1.0,2,3e5]",
    "[-1,-2.5]", "{'a':1.0,2:'x'}", "{-1:-2}", "[',', ':', '[', \"',\"]", "['a,b',\"c','d\"]",
    "{'a:':1,'b,':2}", "{'it':\"x's\",'b':2}",
]  # fmt: skip


@pytest.mark.parametrize("text", VALID)
def test_same_as_python(text):
    expected = ast.literal_eval(text)
    value = literal.parse(text)
    assert value == expected
    assert repr(value) == repr(expected)


def test_nan():
    serpent = table.get("serpent")
    assert math.isnan(serpent.loads(b"{'__class__':'float','value':'nan'}"))
    value = serpent.loads(serpent.dumps([complex(float("nan"), 1.0)]))[0]
    assert math.isnan(value.real)
    assert value.imag == 1.0


INVALID = [
    "", " ", "1 2", "[1", "1]", "[1)", "(1]", "{1]", "[,]", "(,)", "{,}", "[1,,2]", "[1 2]", "['a' 'b']",
    "'a''b'", "{'a'}:", "{'a':}", "{:1}", "{'a':1:2}", "{'a':1,'b'}", "{'a','b':1}", "[1:2]", "['a':1]",
    "('a':1)", "'a':1", "1:2", "1,2", "'a','b'", "[", "{", "(", ")", "'", "'abc", "'a\\'", "'a\nb'", "'a\0b'",
    "b'é'", r"b'\u20ac'[", r"'\d'", r"'\400'", "'\\\n'", "x", "nan", "inf", "true", "null", "NoneTrue",
    "None1", "lambda: 1", "__import__('os')", "1+1", "[1+1]", "2**3", "1e", "1.2.3", "--1", "-", "+1", ".5",
    "0x10", "1_000", "1-2", "1j+2", "[1]*3", "[x for x in y]", "...", "f'a'", "u'a'", "r'a'", "'''a'''x",
    "{[1]:2}", "{{}:1}", "{[1]}", "{1:2,3}", "{1,2:3}", "[1]]", "[[1]", "1,", "#", "# comment",
    r"'\x4'", r"'\u12'", r"'\U00110000'", r"'\N{NO SUCH NAME}'", "b'a':1", '"a":1',
]  # fmt: skip


@pytest.mark.parametrize("text", INVALID)
def test_refused(text):
    with pytest.raises(SerializeError):
        table.get("serpent").loads(text.encode("utf-8"))


def test_long_texts_are_read_in_windows(monkeypatch):
    monkeypatch.setattr(literal, "_WINDOW", 7)
    value = [
        {"key one": 1, "b": [1.5, "x" * 50, ("it's", 'say "x"', "\n" * 9)], 3: None, "c": "é€😀" * 9},
        (), [], {}, {1, 2}, list(range(100)), ["ab", "cd"] * 20, "'", True, -1, 2j, b"\x00\xff" * 9,
    ]  # fmt: skip
    for window in range(1, 40):
        monkeypatch.setattr(literal, "_WINDOW", window)
        assert literal.parse(repr(value)) == value
        assert literal.parse(repr(value).replace(", ", ",").replace(": ", ":")) == value
    for text in VALID:
        monkeypatch.setattr(literal, "_WINDOW", 2)
        assert literal.parse(text) == ast.literal_eval(text)
    for text in INVALID:
        with pytest.raises((SerializeError, ValueError, TypeError, IndexError)):
            literal.parse(text)


@pytest.mark.parametrize(
    "header", [b"# serpent utf-8 python3.2\n", b"# serpent utf-8 python2.6\n", b""]
)
def test_headers(header):
    assert table.get("serpent").loads(header + b"[1]") == [1]


def test_digits_of_ints_are_bounded():
    limit = sys.get_int_max_str_digits()
    serpent = table.get("serpent")
    assert serpent.loads(b"9" * limit) == 10**limit - 1
    for text in (b"9" * (limit + 1), b"[1," + b"9" * (limit + 1) + b"]"):
        with pytest.raises(SerializeError, match="limit"):
            serpent.loads(text)


@pytest.mark.parametrize(
    "keys",
    [
        [str(index * (2**61 - 1)) for index in range(20_000)],
        [f"({index * (2**61 - 1)},)" for index in range(20_000)],
    ],
)
def test_keys_that_collide_are_refused(keys):
    serpent = table.get("serpent")
    for text in ("{" + ",".join(keys) + "}", "{" + ",".join(key + ":1" for key in keys) + "}"):
        with pytest.raises(SerializeError, match="same hash"):
            serpent.loads(text.encode())


def test_many_honest_keys_are_not():
    serpent = table.get("serpent")
    for value in ({i: i for i in range(5000)}, {(i, str(i)) for i in range(5000)},
                  {i / 7: 1 for i in range(5000)}, {str(i): 1 for i in range(5000)}):  # fmt: skip
        assert serpent.loads(serpent.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "'\\'",
        "'\n",
        "'",
        '"\\"',
        "\\'",
        "'\\8",
        "b'\\u",
        "[" * 9 + "'",
        "'a',",
        "@",
        "1'",
        ":",
        "(",
    ],
)
def test_time_is_linear(text):
    """A million characters that no pattern likes are refused at once (guarded by the timeout)."""
    data = (text * (2**20 // len(text))).encode()
    with pytest.raises(SerializeError):
        table.get("serpent").loads(data)
    with pytest.raises(SerializeError):
        table.get("serpent").loads(b"[" + data)


def test_the_collector_is_left_alone():
    import gc

    serpent = table.get("serpent")
    gc.disable()
    try:
        serpent.loads(serpent.dumps([1, {"a": 2}]))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_numpy_floats_are_floats():
    numpy = pytest.importorskip("numpy")
    serpent = table.get("serpent")
    assert serpent.loads(serpent.dumps([numpy.float64(1.5), numpy.float64("nan")]))[0] == 1.5


def test_self_reference_is_refused():
    class Node:
        pass

    node = Node()
    node.me = node
    cycle = []
    cycle.append(cycle)
    for value in (node, cycle):
        with pytest.raises(SerializeError):
            table.get("serpent").dumps(value)
