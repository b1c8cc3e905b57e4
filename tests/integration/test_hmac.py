"""HMAC keys of daemons and proxies: who knows the key, and what is changed on the way."""

from __future__ import annotations

import random

import pytest

from pyroipc import CommunicationError, Proxy, PyroError, SecurityError
from tests.support.daemons import KEY, ROADS, Road, serving, settings
from tests.support.fault_proxy import Corrupt, FaultProxy
from tests.support.things import Thing
from tests.support.waiting import wait_until

HMAC = ROADS["hmac"]


@pytest.mark.parametrize("key", [KEY, KEY.decode()])
def test_bytes_or_text(key):
    with serving({"thing": Thing()}, road=HMAC) as served, served.proxy(hmac_key=key) as proxy:
        assert proxy._pyroHmacKey == KEY
        assert proxy.echo("x" * 200_000) == "x" * 200_000


def test_by_settings():
    given = settings(HMAC_KEY=KEY.decode())
    with (
        serving({"thing": Thing()}, settings=given) as served,
        Proxy(served.uri(), settings=given) as proxy,
    ):
        assert proxy.echo(1) == 1
        assert KEY.decode() not in repr(given) + repr(proxy)


def test_a_key_that_is_set_later_takes_a_new_connection():
    with serving({"thing": Thing()}, road=HMAC) as served:
        proxy = Proxy(served.uri())
        assert proxy._pyroHmacKey is None
        with pytest.raises(SecurityError, match="wants an HMAC key: set _pyroHmacKey"):
            proxy.echo(1)
        proxy._pyroHmacKey = KEY
        assert proxy.echo(2) == 2
        proxy._pyroHmacKey = "another one"
        assert proxy._pyroConnection is None
        with pytest.raises(SecurityError, match="the HMAC keys of the two ends differ"):
            proxy.echo(3)
        proxy._pyroHmacKey = KEY.decode()
        assert proxy.echo(4) == 4
        proxy._pyroRelease()


def test_a_daemon_without_a_key():
    with serving({"thing": Thing()}) as served:
        proxy = served.proxy(hmac_key=KEY)
        with pytest.raises(SecurityError, match="the server uses no HMAC key") as caught:
            proxy.echo(1)
        assert str(caught.value).startswith(f"cannot connect to {served.location}: ")
        proxy._pyroHmacKey = None
        assert proxy.echo(1) == 1
        proxy._pyroRelease()


def test_on_a_unix_socket(tmp_path):
    road = Road("unix", lambda _: {"unixsocket": str(tmp_path / "s"), "hmac_key": KEY})
    with serving({"thing": Thing()}, road=road) as served:
        with pytest.raises(SecurityError, match="wants an HMAC key"):
            Proxy(served.uri()).echo(1)
        with Proxy(served.uri(), hmac_key=KEY) as proxy:
            assert proxy.echo(1) == 1


def test_a_proxy_over_a_socket_has_no_key():
    import socket

    near, far = socket.socketpair()
    with near, far:
        proxy = Proxy("thing", connected_socket=near)
        assert proxy._pyroHmacKey is None
        with pytest.raises(PyroError, match="has no HMAC key"):
            proxy._pyroHmacKey = KEY


@pytest.mark.parametrize("direction", ["up", "down"])
def test_what_is_changed_on_the_way_is_not_taken(direction):
    """Wherever the bit is: no wrong answer, a typed error, and the next connection is right."""
    chance = random.Random(direction)
    with serving({"thing": Thing()}, road=HMAC) as served:
        with FaultProxy(("127.0.0.1", served.port)) as network:
            proxy = Proxy(network.uri(), hmac_key=KEY)
            proxy._pyroTimeout = 5  # a size that is changed may have an end wait for more
            assert proxy.echo("before") == "before"
            total = network.counts[direction]
            for _ in range(25):
                proxy._pyroRelease()
                fault = Corrupt({chance.randrange(total): 1 << chance.randrange(8)})
                setattr(network, direction, fault)
                try:
                    value = proxy.echo("while it is attacked")
                except (CommunicationError, SecurityError):
                    pass
                else:
                    assert value == "while it is attacked"
            proxy._pyroRelease()
            network.up = network.down = Corrupt({})
            assert proxy.echo("after") == "after"
            proxy._pyroRelease()
        wait_until(lambda: not served.daemon.serving, "the daemon has forgotten all of them")
