"""Descriptions of arrays and buffers from strangers: taken strictly, or refused."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers.typed import Rebuilder, Values
from tests.support.typed_values import NAMES, typed


def rebuild(tag, data, buffers=(), size_bytes=1000):
    return Rebuilder(Values(), size_bytes, None, list(buffers)).rebuild(tag, data)


GOOD = ["<i4", [2, 3], "C", True, bytes(24)]


def test_a_good_one():
    array = rebuild("ndarray", GOOD)
    assert (array.shape, array.dtype.str, array.flags.writeable) == ((2, 3), "<i4", True)
    array = rebuild("ndarray", [*GOOD[:3], False, bytes(24)])
    assert not array.flags.writeable
    array = rebuild("ndarray", [*GOOD[:4], memoryview(bytearray(24))])
    array[:] = 1
    assert rebuild(
        "ndarray", [["struct", 8, False, [["a", "t", 4, "<f4"]]], [3], "F", True, bytes(24)]
    )["t"].shape == (3,)


DTYPES = [
    "O", "|O8", "<O8", "|O", "object", "i4", "<i4,<i4", "<i3", "<f3", "T", "|T16", "|V", "",
    "<M8[x]", "<M8[1000000000000s]", "<i4" * 20, "S", "<U99999999999", "|S-1", "<M9", "<m8[s]x",
    "<c5", "<b1\n", "<i4\0", None, 5, 1.5, b"<i4", [], {}, ["struct"], ["other", "<i4"],
    ["struct", 4, False, [["a", None, 0, "O"]]], ["struct", 4, False, [["a", None, 4, "<i4"]]],
    ["struct", 4, False, [["a", None, -1, "<i4"]]], ["struct", -4, False, []],
    ["struct", 8, False, [["a", None, 0, "<i4"], ["a", None, 4, "<i4"]]], ["struct", 4, 0, []],
    ["struct", 4, False, [[1, None, 0, "<i4"]]], ["struct", 4, False, [["a", 1, 0, "<i4"]]],
    ["struct", 4, False, [["a", None, 0]]], ["struct", 4, False, "abc"],
    ["struct", 1 << 40, False, [["a", None, 0, "<i4"]]], ["sub", "<i4", [1 << 40]],
    ["sub", "<i4", [-1]], ["sub", "<i4", "ab"], ["sub", "O", [2]], ["sub", "<i4", [True, 2.0]],
    ["sub", "<i4", [1 << 31, 1 << 31]], ["record", "<i4"], ["record", ["sub", "<i4", [1]]],
    ["record", ["record", ["struct", 4, False, [["a", None, 0, "<i4"]]]]], ["record"],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=range(len(DTYPES)))
def test_dtypes_that_are_refused(dtype):
    with pytest.raises(SerializeError, match="ndarray"):
        rebuild("ndarray", [dtype, [6], "C", True, bytes(24)])
    with pytest.raises(SerializeError, match="numpy"):
        rebuild("numpy", [dtype, None, bytes(4)])


def test_dtypes_that_are_nested_too_deep():
    dtype = "<i4"
    for _ in range(40):
        dtype = ["sub", dtype, [1]]
    with pytest.raises(SerializeError, match="deep"):
        rebuild("ndarray", [dtype, [1], "C", True, bytes(4)])


def test_dtypes_with_too_many_fields():
    fields = [[str(index), None, 0, "|b1"] for index in range(20_000)]
    with pytest.raises(SerializeError, match="memory"):
        rebuild("ndarray", [["struct", 1, False, fields], [1], "C", True, bytes(1)])


@pytest.mark.parametrize(
    "data",
    [
        ["<i4", [2, 4], "C", True, bytes(24)],
        ["<i4", [2, 3], "C", True, bytes(25)],
        ["<i4", [], "C", True, bytes(24)],
        ["<i4", [-2, -3], "C", True, bytes(24)],
        ["<i4", [2.0, 3], "C", True, bytes(24)],
        ["<i4", [True, 6], "C", True, bytes(24)],
        ["<i4", (2, 3), "C", True, bytes(24)],
        ["<i4", 6, "C", True, bytes(24)],
        ["<i4", [2, 3], "A", True, bytes(24)],
        ["<i4", [2, 3], None, True, bytes(24)],
        ["<i4", [2, 3], "C", 1, bytes(24)],
        ["<i4", [2, 3], "C", True, "x" * 24],
        ["<i4", [2, 3], "C", True, None],
        ["<i4", [2, 3], "C", True],
        ["<i4", [1] * 65 + [6], "C", True, bytes(24)],
        ["<i4", [1 << 62, 1 << 62, 0], "C", True, b""],
        ["<i4", [1 << 70, 0], "C", True, b""],
        ["|V0", [1 << 40], "C", True, b""],
        ["<U0", [1 << 20, 1 << 20], "C", True, b""],
        [],
        None,
        {},
    ],
    ids=range(22),
)
def test_arrays_that_are_refused(data):
    with pytest.raises(SerializeError):
        rebuild("ndarray", data)


def test_a_claim_takes_no_memory():
    tracemalloc.start()
    try:
        for dtype, shape in (
            ("<i8", [1 << 40]),
            ("|S999999999", [1]),
            ("<i8", [1 << 30, 1 << 30]),
        ):
            with pytest.raises(SerializeError):
                rebuild("ndarray", [dtype, shape, "C", True, bytes(8)])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        ["<i4", "text"],
        ["<i4", [1]],
        ["<i4", None, bytes(5)],
        ["<i4", None, "text"],
        ["<i4", None, bytes(4), 1],
        ["<i4", 1, bytes(4)][:1],
        ["<i4", 1 << 40],
        "<i4",
    ],
)
def test_scalars_that_are_refused(data):
    with pytest.raises(SerializeError):
        rebuild("numpy", data)


@pytest.mark.parametrize(
    ("data", "buffers"),
    [
        (["bytes", 0], []),
        (["bytes", 1], [b"a"]),
        (["bytes", -1], [b"a"]),
        (["bytes", True], [b"a", b"b"]),
        (["bytes", "0"], [b"a"]),
        (["other", 0], [b"a"]),
        ([None, 0], [b"a"]),
        (["bytes", 0, 1], [b"a"]),
        (["array", 0], [b"a"]),
        (["array", 0, "u", 4, "little"], [b"abcd"]),
        (["array", 0, "d", 4, "little"], [bytes(8)]),
        (["array", 0, "d", 8, "middle"], [bytes(8)]),
        (["array", 0, "d", 8, "little"], [bytes(9)]),
        (["array", 0, ["d"], 8, "little"], [bytes(8)]),
        ([], [b"a"]),
        ("bytes", [b"a"]),
    ],
)
def test_buffers_that_are_refused(data, buffers):
    with pytest.raises(SerializeError):
        rebuild("buffer", data, buffers)


def test_a_buffer_is_used_once():
    rebuilder = Rebuilder(Values(), 1000, None, [b"a", b"b"])
    assert rebuilder.rebuild("buffer", ["bytes", 0]) == b"a"
    assert rebuilder.rebuild("buffer", ["bytes", 1]) == b"b"
    with pytest.raises(SerializeError, match="twice"):
        rebuilder.rebuild("buffer", ["bytes", 0])


def test_buffers_that_landed_in_another_form_are_copied():
    assert rebuild("buffer", ["bytes", 0], [bytearray(b"ab")]) == b"ab"
    assert type(rebuild("buffer", ["bytes", 0], [memoryview(b"ab")])) is bytes
    assert rebuild("buffer", ["bytearray", 0], [b"ab"]) == bytearray(b"ab")
    found = rebuild("buffer", ["array", 0, "h", 2, "big"], [b"\0\1\0\2"])
    assert found.tolist() == [1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_buffers_that_nobody_has_announced(name):
    serializer = typed(name)
    assert serializer.loads_parts(serializer.dumps([1]), [b"left over"]) == [1]
    with pytest.raises(SerializeError):
        serializer.loads(serializer.dumps_parts(bytes(1 << 16)).payload)


@pytest.fixture
def without_numpy(monkeypatch):
    def hide():
        monkeypatch.delitem(sys.modules, "numpy")

    return hide


@pytest.mark.parametrize("name", NAMES)
def test_a_program_without_numpy_is_told_what_to_do(name, without_numpy):
    serializer = typed(name)
    small, scalars = (
        serializer.dumps(np.zeros(3)),
        serializer.dumps([np.float32(1.5), np.str_("a")]),
    )
    times = serializer.dumps(np.datetime64("2024-01-01"))
    without_numpy()
    for data in (small, times):
        with pytest.raises(SerializeError, match=r"has not imported numpy; import it"):
            serializer.loads(data)
    assert "numpy" not in sys.modules
    found = serializer.loads(scalars)
    assert found == [1.5, "a"]
    assert list(map(type, found)) == [float, str]


def test_dtypes_that_only_their_maker_knows(monkeypatch):
    class Strange:
        hasobject = False
        subdtype = names = None
        str = "<V2"

        def __str__(self):
            return "bfloat16"

    class Array:
        dtype = Strange()

    from pyroipc.serializers.typed_numpy import describe_array

    with pytest.raises(SerializeError, match=r"dtype bfloat16 is not one of numpy's own.*view"):
        describe_array(Array())
    with pytest.raises(SerializeError, match="title"):
        describe_array(
            np.zeros(2, np.dtype({"names": ["a"], "formats": ["i4"], "titles": [(1,)]}))
        )


class WithState(np.ndarray):
    """An array that could be taken for an object that is its state."""

    def __getstate__(self):
        return {"unit": "m"}


SUBCLASSES = {
    "recarray": np.zeros(3, [("a", "i4")]).view(np.recarray),
    "MaskedArray": np.ma.array([1, 2], mask=[0, 1]),
    "matrix": np.zeros((2, 2)).view(np.matrix),
    "WithState": np.zeros(3).view(WithState),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", SUBCLASSES)
def test_subclasses_of_arrays_are_refused_by_formats_that_would_lose_something(kind, name):
    with pytest.raises(SerializeError, match=rf"{kind} .*; send numpy\.asarray"):
        typed(name).dumps([SUBCLASSES[kind]])


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_records_are_records(name, aligned):
    inner = np.dtype((np.record, [("x", "<f4")]))
    dtype = np.dtype((np.record, np.dtype([("a", "i1"), ("b", inner)], align=aligned)))
    made = np.ones(2, dtype)
    found, scalar = typed(name).loads(typed(name).dumps([made, made[1]]))
    assert found.dtype == dtype
    assert found.dtype.isalignedstruct == aligned
    assert found.tobytes() == made.tobytes()
    assert type(scalar) is type(found[0]) is np.record
    assert found[1].b.x == scalar.b.x == 1


def test_a_memory_map_of_a_file_arrives_as_an_array(tmp_path):
    made = np.memmap(tmp_path / "file", "i4", "w+", shape=(3,))
    made[:] = 7
    for name in NAMES:
        found = typed(name).loads(typed(name).dumps(made))
        assert type(found) is np.ndarray
        assert found.tolist() == [7, 7, 7]
    del made
