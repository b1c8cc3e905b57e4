"""Who is trusted: only what the kernel says."""

from __future__ import annotations

import os

import pytest

from pyroipc.transports import trust
from pyroipc.transports.trust import identify_peer, own_pair_peer
from tests.support.hosts import tcp_pair, unix_pair


def test_a_unix_pair_of_ours_is_trusted():
    near, far = unix_pair()
    with near, far:
        peer = identify_peer(near)
    assert peer.trusted
    assert (peer.uid, peer.pid) == (os.geteuid(), os.getpid())
    assert f"our user id {os.geteuid()}" in peer.reason


def test_tcp_is_not_trusted_also_within_this_machine():
    near, far = tcp_pair()
    with near, far:
        address = far.getsockname()
        peer = identify_peer(near)
    assert not peer.trusted
    assert "AF_INET" in peer.reason
    assert peer.address == address


@pytest.mark.parametrize("uid", [0, 1, 65534])
def test_another_user_is_not_trusted(monkeypatch, uid):
    monkeypatch.setattr(trust.os, "geteuid", lambda: 4242)
    monkeypatch.setattr(trust, "_peer_credentials", lambda sock: (7, uid))
    near, far = unix_pair()
    with near, far:
        peer = identify_peer(near)
    assert not peer.trusted
    assert f"user id {uid}, this process has 4242" in peer.reason


def test_a_kernel_that_does_not_tell(monkeypatch):
    def refuse(sock):
        raise OSError("not here")

    monkeypatch.setattr(trust, "_peer_credentials", refuse)
    near, far = unix_pair()
    with near, far:
        peer = identify_peer(near)
    assert not peer.trusted
    assert "does not say" in peer.reason


def test_a_pair_that_the_library_made():
    assert own_pair_peer().trusted
    assert "trusted" in repr(own_pair_peer())
