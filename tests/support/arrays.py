"""Buffers of all kinds, how they should arrive, and how they arrive without any connection."""

from __future__ import annotations

import mmap
from array import array
from typing import Any

import numpy as np

from pyroipc.client.landing import land
from pyroipc.serializers import table
from pyroipc.serializers.base import PeerImage
from pyroipc.serializers.parts import APART_BYTES, Parts

DATA = ("serpent", "json", "msgpack")
SERIALIZERS = (*DATA, "marshal", "pickle", "cloudpickle", "dill")


def landed(parts: Parts) -> list[Any]:
    """Return the buffers as a receiver has them."""
    found = []
    for view, form in zip(parts.buffers, parts.forms, strict=True):
        landing = land(form, len(view))
        filled = 0
        while filled < len(view):
            room = landing.room(filled)
            room[:] = view[filled : filled + len(room)]
            filled += len(room)
        found.append(landing.finish())
    return found


def travelled(name: str, value: object) -> tuple[Any, int]:
    """Encode and decode a value as between two ends; say also how many buffers went apart."""
    serializer = table.get(name).for_connection(PeerImage())
    parts = serializer.dumps_parts(value)
    if isinstance(parts, Parts):
        return serializer.loads_parts(parts.payload, landed(parts)), len(parts.buffers)
    return serializer.loads(parts), 0


def check(sent: Any, arrived: Any) -> None:
    """Compare what was sent with what has arrived: value, type, order of bytes, use."""
    if isinstance(sent, np.ndarray):
        assert type(arrived) is np.ndarray
        assert arrived.dtype == sent.dtype
        assert arrived.shape == sent.shape
        if sent.dtype.names is None:
            assert arrived.tobytes() == sent.tobytes()
        else:  # what is between the fields may be anything
            assert (arrived == sent).all()
        assert arrived.flags.writeable == sent.flags.writeable
        if sent.flags.f_contiguous or sent.flags.c_contiguous:
            assert arrived.flags.c_contiguous == sent.flags.c_contiguous
            assert arrived.flags.f_contiguous == sent.flags.f_contiguous
        assert not np.may_share_memory(sent, arrived)
    elif isinstance(sent, np.generic):
        assert type(arrived) is type(sent)
        assert arrived.dtype == sent.dtype
        assert arrived.tobytes() == sent.tobytes()
    elif isinstance(sent, memoryview | mmap.mmap):
        view = memoryview(sent)
        assert type(arrived) is (bytes if view.readonly else bytearray)
        assert arrived == view.tobytes()
    else:
        assert type(arrived) is type(sent)
        assert arrived == sent
        if isinstance(sent, array):
            assert arrived.typecode == sent.typecode


def mapped(n_bytes: int) -> mmap.mmap:
    """Return a memory map with something in it."""
    made = mmap.mmap(-1, n_bytes)
    made[:] = bytes(range(256)) * (n_bytes // 256) + bytes(n_bytes % 256)
    return made


def read_only(value: np.ndarray) -> np.ndarray:
    """Return an array that cannot be written to."""
    value.flags.writeable = False
    return value


RECORD = np.dtype([("a", "i1"), ("b", ">f8", (2, 2)), ("c", "U3"), ("d", [("x", "<M8[ms]")])])


def buffers(n_bytes: int) -> dict[str, Any]:
    """Return one buffer of each kind, of about so many bytes."""
    n = max(1, n_bytes // 8)
    numbers = np.arange(n)
    return {
        "bytes": bytes(range(256)) * (n_bytes // 256) + bytes(n_bytes % 256),
        "bytearray": bytearray(n_bytes),
        "memoryview": memoryview(bytes(n_bytes)),
        "writable memoryview": memoryview(bytearray(n_bytes)),
        "memoryview with gaps": memoryview(bytes(range(256)) * (n_bytes // 128 + 1))[::2],
        "writable memoryview with gaps": memoryview(bytearray(2 * n_bytes + 2))[::2],
        "writable memoryview in Fortran's order": memoryview(np.ones((2, n), order="F")),
        "memoryview of numbers": memoryview(array("d", range(n))),
        "array": array("d", range(n)),
        "mmap": mapped(max(1, n_bytes)),
        "ndarray": numbers,
        "two dimensions": np.arange(2 * (n // 2 or 1)).reshape(2, -1),
        "Fortran": np.arange(2 * (n // 2 or 1)).reshape(2, -1).T,
        "steps": np.arange(2 * n)[::2],
        "backwards": numbers[::-1],
        "turned": np.arange(n * 6).reshape(n, 2, 3).transpose(1, 0, 2),
        "broadcast": np.broadcast_to(np.float64(1.5), (n,)),
        "big-endian": np.arange(n, dtype=">i8"),
        "times": np.arange(n).astype("M8[us]"),
        "durations": np.arange(n).astype("m8[h]"),
        "texts": np.array(["ä\0b", "", "xyz"] * n),
        "bytes of numpy": np.array([b"a\0b", b"", b"xyz"] * n),
        "void": np.zeros(2 * n, "V7"),
        "bool": np.ones(n_bytes, bool),
        "complex": np.full(n, 1 - 2j),
        "half": np.arange(4 * n).astype("f2"),
        "long double": np.arange(n, dtype=np.longdouble),
        "records": np.zeros(n, RECORD),
        "aligned": np.zeros(n, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        "read-only": read_only(np.arange(n)),
    }


SMALL = {
    **buffers(100),
    "0-d": np.array(3.5),
    "empty": np.zeros((3, 0, 2)),
    "nothing": b"",
    "no rows": memoryview(np.zeros((0, 3))),
}
LARGE = buffers(APART_BYTES + 8)
