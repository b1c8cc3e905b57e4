"""Any array of any dtype and any strides, of any size around the threshold, nested anywhere."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import SerializeError
from pyroipc.serializers.parts import APART_BYTES
from pyroipc.serializers.typed import Rebuilder, Values
from tests.support.arrays import SERIALIZERS, check, travelled
from tests.support.searching import examples

plain = st.sampled_from([
    "?", "i1", "<i2", ">i4", "<u8", ">u8", "<f2", ">f4", "<f8", "<c8", ">c16", "S3", "<U2",
    ">U5", "V5", "<M8[ns]", ">M8[25s]", "<m8[D]", "<M8",
]).map(np.dtype)  # fmt: skip
names = st.lists(st.text("abcä ", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)


@st.composite
def structured(draw, inner):
    fields = []
    for name in draw(names):
        dtype = draw(inner)
        shape = draw(st.sampled_from([(), (2,), (1, 3)]))
        fields.append((name, dtype, shape) if shape else (name, dtype))
    made = np.dtype(fields, align=draw(st.booleans()))
    if draw(st.booleans()) and len(made.names) > 1:
        made = np.zeros(1, made)[[made.names[-1]]].dtype  # with a gap where the others were
    return made


dtypes = st.recursive(plain, structured, max_leaves=4)


FEW = st.sampled_from([0, 1, 7, 100])


@st.composite
def arrays(draw, near=FEW):
    dtype = draw(dtypes)
    n_bytes = draw(near)
    count = max(0, n_bytes // max(1, dtype.itemsize)) + draw(st.integers(0, 2))
    shape = draw(
        st.sampled_from([(count,), (count, 1), (1, count), (2, count // 2), (), (0, count)])
    )
    n = int(np.prod(shape)) * dtype.itemsize
    seed = draw(st.binary(min_size=1, max_size=20)).replace(b"\xff", b"\x01")
    content = (seed * (n // len(seed) + 1))[:n]
    if dtype.kind == "U" or dtype.names is not None:
        content = bytes(n)  # not all bytes are texts
    made = np.ndarray(shape, dtype, buffer=bytearray(content))
    way = draw(
        st.sampled_from(["as it is", "turned", "backwards", "steps", "read-only", "Fortran"])
    )
    if way == "turned":
        made = made.T
    elif way == "backwards" and made.ndim:
        made = made[::-1]
    elif way == "steps" and made.ndim:
        made = made[::2]
    elif way == "read-only":
        made.flags.writeable = False
    elif way == "Fortran":
        made = np.asfortranarray(made)
    return made


def keeps_all(name, value):
    """Small arrays are pickled by numpy itself: without padding, and read-only ones at times."""
    return name not in {"pickle", "cloudpickle", "dill"} or (
        value.flags.writeable and value.dtype.isnative and value.dtype.names is None
    )


@pytest.mark.parametrize("name", [name for name in SERIALIZERS if name != "dill"])
@given(value=arrays())
@examples(120)
def test_small_arrays(name, value):
    arrived, apart = travelled(name, [value])
    assert not apart
    if keeps_all(name, value):
        check(value, arrived[0])
    else:
        assert arrived[0].shape == value.shape


@pytest.mark.parametrize("name", SERIALIZERS)
@given(value=arrays(st.integers(APART_BYTES - 40, APART_BYTES + 40)))
@examples(60)
def test_arrays_around_the_threshold(name, value):
    if value.nbytes < APART_BYTES and (name == "dill" or not keeps_all(name, value)):
        return
    arrived, apart = travelled(name, {"a": [(value,)]})
    check(value, arrived["a"][0][0])
    assert apart == (value.nbytes >= APART_BYTES)


sizes = st.sampled_from([0, 10, APART_BYTES - 1, APART_BYTES, APART_BYTES + 1])
leaves = st.one_of(
    st.integers(), st.text(max_size=5), st.none(),
    sizes.map(bytes), sizes.map(lambda n: bytearray(b"b" * n)),
    sizes.map(lambda n: array("h", bytes(n // 2 * 2))), sizes.map(lambda n: np.arange(n // 8)),
)  # fmt: skip
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=4),
    ),
    max_leaves=10,
)


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and (left == right).all()
    return left == right


def count_large(value):
    if isinstance(value, list | tuple):
        return sum(map(count_large, value))
    if isinstance(value, dict):
        return sum(map(count_large, value.values()))
    if isinstance(value, np.ndarray | array | bytes | bytearray):
        return memoryview(value).nbytes >= APART_BYTES
    return 0


@pytest.mark.parametrize("name", SERIALIZERS)
@given(value=nested)
@examples(80)
def test_nested_anywhere(name, value):
    arrived, apart = travelled(name, value)
    assert same(value, arrived)
    if name not in {"pickle", "cloudpickle", "dill"}:  # equal bytes may be one object there
        assert apart == count_large(value)
    assert bool(apart) == bool(count_large(value))


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 65) | st.binary(max_size=16)
    | st.text("<>|=?biufcmMSUVO0123456789[]ns", max_size=6)
    | st.sampled_from(["struct", "sub", "<i4", "C", "F", "bytes", "memory", "array"]),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


@given(st.sampled_from(["ndarray", "numpy", "buffer"]), junk)
@examples(1000)
def test_any_description_is_taken_or_refused(tag, data):
    try:
        Rebuilder(Values(), 100, None, [b"abcd", memoryview(bytearray(8))]).rebuild(tag, data)
    except SerializeError:
        pass
