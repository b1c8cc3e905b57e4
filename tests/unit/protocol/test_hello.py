"""What two sides tell each other."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyroipc.errors import ProtocolError, VersionMismatchError
from pyroipc.protocol.hello import LIBRARY, PYTHON, Hello
from pyroipc.wire.native import VERSION

words = st.text("abcdefghij-0123456789", min_size=1, max_size=10)


@given(
    st.frozensets(words, max_size=5),
    st.frozensets(words, max_size=5),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 31) - 1),
    st.integers(0, 1 << 300),
    words,
)
def test_all_facts_arrive(features, serializers, size, pid, cpus, image):
    told = Hello(
        features=features,
        serializers=serializers,
        max_message_bytes=size,
        pid=pid,
        cpus=cpus,
        image=image,
    )
    heard = Hello.decode(told.encode())
    for fact in Hello.__slots__:
        assert getattr(heard, fact) == getattr(told, fact), fact


def test_defaults():
    hello = Hello.decode(Hello().encode())
    assert (hello.library, hello.python, hello.protocol) == (LIBRARY, PYTHON, VERSION)
    assert hello.pid == os.getpid()
    assert "ping" in hello.features


def test_unknown_keys_are_ignored():
    assert Hello.decode(Hello().encode() + b"colour=blue\n").library == LIBRARY


def test_missing_facts_that_nobody_needs():
    hello = Hello.decode(f"library=x\npython=y\nprotocol={VERSION}".encode())
    assert (hello.pid, hello.cpus, hello.serializers) == (0, 0, frozenset())


def test_another_version_names_both_sides():
    other = Hello(library="pyroipc 9.9", python="PyPy 3.99", protocol=VERSION + 1, pid=77)
    with pytest.raises(VersionMismatchError) as caught:
        Hello.decode(other.encode())
    text = str(caught.value)
    for part in (LIBRARY, PYTHON, f"protocol {VERSION}", "pyroipc 9.9", "PyPy 3.99",
                 f"protocol {VERSION + 1}", "77", str(os.getpid())):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"library", b"library=x\npython=y", b"library=x\npython=y\nprotocol=x",
     b"library=x\npython=y\nprotocol=-1", b"library=x\npython=y\nprotocol=1\npid=-1",
     b"library=x\npython=y\nprotocol=1\npid=99999999999", b"a=b\n" * 100,
     b"library=x\npython=y\nprotocol=1\ncpus=-1", b"library=x\npython=y\nprotocol=1\ncpus=zz",
     b"library=x\npython=y\nprotocol=1\nmax-message-bytes=1e9",
     b"library=x\npython=y\nprotocol=" + b"1" * 60_000],
)  # fmt: skip
def test_what_cannot_be_read(payload):
    with pytest.raises(ProtocolError):
        Hello.decode(payload)


@given(st.binary(max_size=300))
def test_any_bytes(payload):
    try:
        Hello.decode(payload)
    except ProtocolError:
        pass
