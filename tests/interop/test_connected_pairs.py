"""Connected sockets between pyroipc and the released packages: nobody introduces himself there."""

from __future__ import annotations

import contextlib

import pytest

import pyroipc
from tests.interop.peers import scenarios
from tests.interop.peers.library import OURS, PYRO4, PYRO5, Library
from tests.interop.peers.things import make_objects
from tests.support.daemons import settings
from tests.support.hosts import HOSTS, PAIRS, Worker, unix_pair
from tests.support.pyro_peers import new_name, play, playing, serving
from tests.support.snippets import run_module

FAMILIES = (PYRO5, PYRO4)
NAMES = {PYRO5: "pyro5", PYRO4: "pyro4"}
WITH_SERIALIZERS = [
    *((PYRO5, serializer) for serializer in ("serpent", "json", "marshal", "msgpack")),
    *((PYRO4, serializer) for serializer in ("serpent", "json", "marshal", "msgpack", "pickle")),
]
ACCEPTED = ["serpent", "json", "msgpack", "marshal", "pickle"]


def check(found, *, local=True):
    assert found["calls"] == [3, 4, [1]]
    assert (found["failed"]["class"], found["failed"]["args"]) == ("ValueError", ["boom", 5])
    assert "ValueError: ('boom', 5)" in found["failed"]["traceback"]
    assert found["unknown"]["class"] == "AttributeError"
    assert found["stream"] == [0, 1, 2]
    assert found["oneway"] == [None, True]
    assert (found["size"], found["text"]) == (200_000, 200_000)
    assert found["kind"] == ("str" if local else "tuple")
    assert found["context"] == [{"ABCD": "mine"}, True]
    assert found["closed"] is True
    assert found.get("value", 1) == 1
    assert found.get("batch", [3, "KeyError"]) == [3, "KeyError"]
    assert found.get("blob", ["info", [1, 2]]) == ["info", [1, 2]]


# --- a client of Pyro's, and a daemon of ours ----------------------------------------------------


@contextlib.contextmanager
def our_daemon(kind, family, pair=unix_pair, **options):
    """Serve one end of a pair; yield the number of the other one, and a client that has it."""
    objects = make_objects(Library(OURS))
    host = HOSTS[kind](objects, pair=pair, **options)
    with host as (near, _), playing(family, near.fileno()) as player:
        fd = near.fileno()
        near.close()
        yield player, fd


@pytest.mark.parametrize(("family", "serializer"), WITH_SERIALIZERS)
@pytest.mark.parametrize("kind", HOSTS)
def test_a_client_of_pyro(kind, family, serializer):
    with our_daemon(kind, family, serializers_accepted=ACCEPTED) as (player, fd):
        check(player.play("over_connected", fd, serializer, new_name()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_of_pyro_over_a_pair_of_tcp(family):
    with our_daemon("thread", family, pair=PAIRS["tcp"]) as (player, fd):
        check(player.play("over_connected", fd, "serpent", new_name()), local=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_proxy_that_was_released(family):
    """The socket stays open, and can be used with another proxy."""
    with our_daemon("thread", family) as (player, fd):
        assert player.play("after_release", fd, "serpent") == [3, 4]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_object_that_does_not_exist(family):
    with our_daemon("thread", family) as (player, fd):
        kind, args, after = player.play("unknown_over_connected", fd, "serpent")
        assert kind == "DaemonError"
        assert "unknown object" in args[0]
        assert after == 4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", HOSTS)
def test_the_loop_ends_when_the_client_is_gone(kind, family):
    objects = make_objects(Library(OURS))
    with HOSTS[kind](objects) as (near, host), playing(family, near.fileno()) as player:
        fd = near.fileno()
        near.close()
        assert player.play("after_release", fd, "serpent") == [3, 4]
        player.play("close_connected", fd)
        if kind == "thread":
            host.loop.result()
        else:
            assert host.wait() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_daemon_that_does_not_speak_that(family):
    changed = settings(DIALECTS=["native"])
    near, far = unix_pair()
    with near, far, playing(family, near.fileno()) as player:
        fd = near.fileno()
        near.close()
        daemon = pyroipc.Daemon(connected_socket=far, settings=changed)
        loop = Worker(daemon.requestLoop)
        told = player.play("outcome_over_connected", fd, "serpent")
        assert told["class"] in {"ProtocolError", "ConnectionClosedError"}
        with pytest.raises(pyroipc.ProtocolError, match="speaks"):
            loop.result()
        daemon.close()


@pytest.mark.parametrize("half", ["client", "server"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_program_that_forks(family, half):
    """One half of it is of Pyro, the other one ours."""
    ended = run_module("tests.interop.peers.halves", family, half, options=("-W", "ignore"))
    assert ended == (0, "[3, [0, 1, 2], 'ValueError', ['boom', 5]]\n", "")


# --- a proxy of ours, and a daemon of Pyro's -----------------------------------------------------


@contextlib.contextmanager
def daemon_of_pyro(family, pair=unix_pair, **changed):
    near, far = pair()
    with near:
        place = serving(
            family,
            {"pair": {"fd": far.fileno()}},
            changed,
            pass_fds=(far.fileno(),),
            until_end=True,
        )
        with place as server:
            far.close()
            yield near, server


@pytest.mark.parametrize(("family", "serializer"), WITH_SERIALIZERS)
def test_a_daemon_of_pyro(family, serializer):
    with daemon_of_pyro(family) as (near, _):
        scenarios._sockets[near.fileno()] = near
        try:
            found = play(
                OURS, "configured", {"DIALECT": NAMES[family]}, "over_connected", near.fileno(),
                serializer, new_name(),
            )  # fmt: skip
        finally:
            del scenarios._sockets[near.fileno()]
        check(found)
        proxy = pyroipc.Proxy("basics", connected_socket=near, dialect=NAMES[family])
        assert proxy.add(1) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_released_proxy_goes_on(family):
    with daemon_of_pyro(family) as (near, _):
        proxy = pyroipc.Proxy("basics", connected_socket=near, dialect=NAMES[family])
        assert proxy.add(1) == 3
        proxy._pyroRelease()
        assert near.fileno() >= 0
        assert proxy.add(2) == 4
        other = pyroipc.Proxy("streams", connected_socket=near, dialect=NAMES[family])
        assert list(other.count(2)) == [0, 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_timeout_does_not_put_a_connected_socket_out_of_step(family):
    with daemon_of_pyro(family) as (near, _):
        proxy = pyroipc.Proxy("waits", connected_socket=near, dialect=NAMES[family])
        proxy._pyroTimeout = 0.05
        with pytest.raises(pyroipc.TimeoutError):
            proxy.wait_a_moment(0.2)
        proxy._pyroTimeout = None
        assert [proxy.add_up(n) for n in range(5)] == list(range(5))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_daemon_of_pyro_ends_when_our_socket_is_closed(family):
    with daemon_of_pyro(family) as (near, server):
        proxy = pyroipc.Proxy("basics", connected_socket=near, dialect=NAMES[family])
        assert proxy.add(1) == 3
        proxy._pyroRelease()
        near.close()
        assert server.process.wait(10) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_daemon_of_pyro_that_dies(family):
    with daemon_of_pyro(family) as (near, _):
        proxy = pyroipc.Proxy("basics", connected_socket=near, dialect=NAMES[family])
        with pytest.raises(pyroipc.ConnectionClosedError):
            proxy.die()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_native_dialect_at_a_daemon_of_pyro(family):
    """It has to be said: nobody can find out over a connected socket."""
    with daemon_of_pyro(family) as (near, _):
        proxy = pyroipc.Proxy("basics", connected_socket=near)
        proxy._pyroTimeout = 0.5
        with pytest.raises(pyroipc.CommunicationError):
            proxy.add(1)


def test_two_dialects_over_one_socket():
    with daemon_of_pyro(PYRO5) as (near, _):
        proxy = pyroipc.Proxy("basics", connected_socket=near, dialect="pyro5")
        assert proxy.add(1) == 3
        other = pyroipc.Proxy("basics", connected_socket=near, dialect="pyro4")
        with pytest.raises(pyroipc.PyroError, match="dialect"):
            other.add(1)
        assert proxy.add(1) == 3
