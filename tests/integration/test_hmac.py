"""HMAC keys of daemons and proxies: who knows the key, and what is changed on the way."""

from __future__ import annotations

import random
import socket

import pytest

from pyroipc import CommunicationError, Daemon, Proxy, PyroError, SecurityError
from tests.support.daemons import KEY, ROADS, Road, serving, settings
from tests.support.fault_proxy import Corrupt, FaultProxy
from tests.support.hosts import Worker
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


@pytest.mark.parametrize("key", [KEY, KEY.decode()])
def test_a_daemon_takes_a_key_as_it_does_in_pyro4(key):
    with Daemon(host="127.0.0.1") as daemon:
        uri = daemon.register(Thing(), "thing")
        assert daemon._pyroHmacKey is None
        daemon._pyroHmacKey = key
        assert daemon._pyroHmacKey == KEY
        loop = Worker(daemon.requestLoop)
        with pytest.raises(SecurityError, match="wants an HMAC key"):
            Proxy(uri).echo(1)
        with Proxy(uri, hmac_key=KEY) as proxy:
            assert proxy.echo(2) == 2
        daemon._pyroHmacKey = None
        with Proxy(uri) as proxy:
            assert proxy.echo(3) == 3
        daemon.shutdown()
        loop.result()


def test_a_daemon_shows_the_key_that_it_was_given():
    with Daemon(host="127.0.0.1", hmac_key=KEY.decode()) as daemon:
        assert daemon._pyroHmacKey == KEY
        with pytest.raises(TypeError, match="bytes or a str, not int"):
            daemon._pyroHmacKey = 5
        assert daemon._pyroHmacKey == KEY


def test_a_daemon_on_a_connected_socket_takes_no_key():
    near, far = socket.socketpair()
    with near, far, Daemon(connected_socket=near) as daemon:
        with pytest.raises(PyroError, match="takes no HMAC key"):
            daemon._pyroHmacKey = KEY
        daemon._pyroHmacKey = None
        assert daemon._pyroHmacKey is None


@pytest.mark.parametrize("kind", [Daemon, Proxy])
def test_a_key_is_none_of_the_class(kind, monkeypatch):
    """It would replace the property, and nobody would be asked for it."""

    class Keyed(kind):
        _pyroHmacKey = KEY

    monkeypatch.setattr(kind, "_pyroHmacKey", KEY, raising=False)
    args = ("PYRO:thing@127.0.0.1:1",) if issubclass(kind, Proxy) else ("127.0.0.1",)
    for made in (kind, Keyed):
        with pytest.raises(PyroError, match=rf"{made.__name__}._pyroHmacKey .* HMAC_KEY"):
            made(*args)


@pytest.mark.parametrize("kind", [Daemon, Proxy])
def test_nor_over_a_connected_socket(kind, monkeypatch):
    monkeypatch.setattr(kind, "_pyroHmacKey", KEY)
    near, far = socket.socketpair()
    args = ("thing",) if kind is Proxy else ()
    with near, far, pytest.raises(PyroError, match=f"{kind.__name__}._pyroHmacKey"):
        kind(*args, connected_socket=near)


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
