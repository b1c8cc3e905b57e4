"""Shared memory, as far as one process sees it: how it is made, and how it ends."""

from __future__ import annotations

import gc
import os
import sys

import pytest

import pyroipc
from pyroipc.transports import segments

UNLIMITED = sys.maxsize + 1


def descriptors():
    gc.collect()
    return sorted(os.listdir("/dev/fd"))


@pytest.mark.parametrize("n_bytes", [1 << 60, UNLIMITED, 1 << 200])
def test_memory_that_nobody_has(n_bytes):
    before = descriptors()
    with pytest.raises(OSError, match=f"cannot make shared memory of {n_bytes} bytes: "):
        segments.make_segment(n_bytes)
    with pytest.raises(OSError, match=f"{n_bytes} bytes"):
        pyroipc.shared_array(n_bytes, "u1")
    assert descriptors() == before


@pytest.mark.parametrize("n_bytes", [0, -1, -UNLIMITED - 1])
def test_memory_of_no_size(n_bytes):
    with pytest.raises(OSError, match=f"of {n_bytes} bytes: "):
        segments.make_segment(n_bytes)
    with pytest.raises(ValueError, match="at least 1 byte"):
        pyroipc.shared_buffer(n_bytes)


def test_the_end_of_a_buffer_needs_no_module(monkeypatch):
    """When the interpreter ends, what a module knows may be gone before its objects."""
    before = descriptors()
    buffer = segments.make_segment(10)
    for name in ("os", "sys", "mmap"):
        monkeypatch.setattr(segments, name, None)
    del buffer
    assert descriptors() == before
