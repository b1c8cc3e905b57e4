"""Whose socket it is: sharing, releasing, shutting down, starting again; deadlines; trust."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import resource
import socket
import threading
from time import monotonic

import pytest

import pyroipc
from pyroipc import ConnectionClosedError, Daemon, DaemonError, Proxy, SecurityError
from pyroipc.client.sharing import sessions
from pyroipc.context import running
from tests.support.hosts import HOSTS, PAIRS, PATIENCE, ThreadHost, Worker, hosted, tcp_pair
from tests.support.leaks import lasting_differences, resources
from tests.support.things import Gate, Thing
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def fresh_context():
    token = running.set(None)
    yield
    running.reset(token)


@pytest.fixture(params=sorted(PAIRS))
def pair(request):
    near, far = PAIRS[request.param]()
    with near, far:
        yield near, far


def facts(sock):
    """What of a socket must not change."""
    return (
        sock.fileno(),
        sock.gettimeout(),
        fcntl.fcntl(sock, fcntl.F_GETFL),
        fcntl.fcntl(sock, fcntl.F_GETFD),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
    )


# --- the user's socket ------------------------------------------------------------------------


def test_sockets_stay_open_and_as_they_were(pair):
    near, far = pair
    before = facts(near), facts(far)
    host = ThreadHost(far, {"thing": Thing()})
    with Proxy("thing", connected_socket=near) as proxy:
        assert proxy.echo(1) == 1
    host.stop()
    del proxy, host
    gc.collect()
    assert (facts(near), facts(far)) == before


def test_a_released_proxy_works_again(pair):
    near, far = pair
    host = ThreadHost(far, {"thing": Thing()})
    proxy = Proxy("thing", connected_socket=near)
    for i in range(5):
        assert proxy.echo(i) == i
        proxy._pyroRelease()
        proxy._pyroRelease()
    host.stop()


def test_proxies_after_each_other_on_one_socket(pair):
    near, far = pair
    host = ThreadHost(far, {"thing": Thing()})
    for i in range(20):
        proxy = Proxy("thing", connected_socket=near)
        assert proxy.add(i) == i + 1
        if i % 2:
            proxy._pyroRelease()
        del proxy
    host.stop()


def test_a_proxy_that_is_gone_does_not_keep_the_conversation_open():
    made = []

    @pyroipc.expose
    class Counter:
        def count(self):
            made.append(id(self))
            return len(made)

    with hosted({"counter": Counter}) as (sock, _):
        for i in range(1, 4):
            forgotten = Proxy("counter", connected_socket=sock)
            assert forgotten._pyroBind()
            del forgotten
            gc.collect()
            with Proxy("counter", connected_socket=sock) as proxy:
                assert proxy.count() == i
                session = proxy._pyro_session
            assert not session.is_open


def test_daemons_after_each_other_on_one_socket(pair):
    near, far = pair
    for i in range(5):
        thing = Thing()
        thing.value = i
        host = ThreadHost(far, {"thing": thing})
        with Proxy("thing", connected_socket=near) as proxy:
            assert proxy.value == i
        host.stop()


def test_a_proxy_that_outlives_its_daemon_finds_the_next_one(pair):
    near, far = pair
    settings = pyroipc.config.copy()
    settings.HANDSHAKE_TIMEOUT = 0.2
    proxy = Proxy("thing", connected_socket=near, settings=settings)
    for i in range(5):
        host = ThreadHost(far, {"thing": Thing()})
        assert proxy.echo(i) == i
        host.stop()
        del host
        gc.collect()
        for error in (ConnectionClosedError, pyroipc.TimeoutError)[: 1 + i % 2]:
            with pytest.raises(error):
                proxy.echo("to the daemon that is gone")
    proxy._pyroRelease()


def test_one_daemon_may_serve_twice(pair):
    near, far = pair
    with Daemon(connected_socket=far) as daemon:
        daemon.register(Thing(), "thing")
        for i in range(3):
            loop = Worker(daemon.requestLoop)
            with Proxy("thing", connected_socket=near) as proxy:
                assert proxy.echo(i) == i
            daemon.shutdown()
            loop.result()


def test_only_one_daemon_serves_a_socket(pair):
    near, far = pair
    host = ThreadHost(far, {"thing": Thing()})
    with Proxy("thing", connected_socket=near) as proxy:
        proxy.nothing()
        with Daemon(connected_socket=far) as second, pytest.raises(DaemonError, match="another"):
            second.requestLoop()
        with pytest.raises(DaemonError, match="runs already"):
            host.daemon.requestLoop()
        assert proxy.echo(1) == 1
    host.stop()


def test_a_closed_daemon_says_so(pair):
    daemon = Daemon(connected_socket=pair[1])
    daemon.close()
    with pytest.raises(DaemonError, match="closed"):
        daemon.requestLoop()
    with pytest.raises(DaemonError, match="closed"):
        daemon.__enter__()


@pytest.mark.parametrize("timeout", [0.0, 0.05, 5.0], ids=["non-blocking", "50 ms", "5 s"])
@pytest.mark.parametrize("where", ["thread", "fork"])
@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_sockets_with_a_timeout_of_the_users(kind, where, timeout):
    def make():
        near, far = PAIRS[kind]()
        near.settimeout(timeout)
        far.settimeout(timeout)
        return near, far

    data = "z" * (2 << 20)
    pause = threading.Event()

    class Slow(Thing):
        @pyroipc.expose
        def slow(self, seconds):
            return pause.wait(seconds)

    with HOSTS[where]({"thing": Slow()}, pair=make) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            for i in range(100):
                assert proxy.echo(i) == i
            assert proxy.slow(0.3) is False  # longer than the time-out of the socket
            assert proxy.echo(data) == data
            proxy._pyroTimeout = 0.15
            start = monotonic()
            with pytest.raises(pyroipc.TimeoutError):
                proxy.slow(0.8)
            assert monotonic() - start < 0.8
            proxy._pyroTimeout = None
            assert proxy.echo(1) == 1
        assert sock.gettimeout() == timeout


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2000, reason="too few descriptors"
)
def test_descriptors_above_1024(pair):
    """select() cannot take them."""
    near, far = (
        socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 1500)) for sock in pair
    )
    data = "z" * (2 << 20)
    with near, far:
        host = ThreadHost(far, {"thing": Thing()})
        with Proxy("thing", connected_socket=near) as proxy:
            proxy._pyroTimeout = 10.0
            assert proxy.echo(data) == data
        near.setblocking(False)
        with Proxy("thing", connected_socket=near) as proxy:
            assert proxy.echo(data) == data
        host.stop()


# --- shutting down ---------------------------------------------------------------------------


def elapsed(function):
    start = monotonic()
    function()
    return monotonic() - start


@pytest.mark.parametrize("used", [False, True], ids=["never used", "used"])
def test_shutdown_from_another_thread_is_immediate(pair, used):
    near, far = pair
    host = ThreadHost(far, {"thing": Thing()})
    proxy = Proxy("thing", connected_socket=near)
    if used:
        assert proxy.echo(1) == 1
    else:
        wait_until(lambda: "serving" in repr(host.daemon), "the loop runs")
    host.daemon.shutdown()
    assert elapsed(host.loop.result) < 0.9
    if used:
        with pytest.raises(ConnectionClosedError, match="stopped serving"):
            proxy.echo(1)
    proxy._pyroRelease()


class Switch:
    """Ends its daemon from inside of a call."""

    daemon: Daemon | None = None

    @pyroipc.expose
    def off(self):
        self.daemon.shutdown()
        return "off"

    @pyroipc.expose
    def close(self):
        self.daemon.close()
        return "closed"

    @pyroipc.expose
    @pyroipc.oneway
    def off_silently(self):
        self.daemon.shutdown()


@pytest.mark.parametrize("how", ["off", "close", "off_silently"])
def test_shutdown_from_inside_of_a_call(pair, how):
    near, far = pair
    switch = Switch()
    host = ThreadHost(far, {"switch": switch})
    switch.daemon = host.daemon
    with Proxy("switch", connected_socket=near) as proxy:
        answer = getattr(proxy, how)()
        assert answer == {"off": "off", "close": "closed"}.get(how)
        assert elapsed(host.loop.result) < 0.9
        with pytest.raises(ConnectionClosedError):
            proxy.off()
    switch.daemon = None


def test_shutdown_while_calls_run_lets_them_finish():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, host), Proxy("gate", connected_socket=sock) as proxy:
        calls = [Worker(proxy.hold, i) for i in range(3)]
        for _ in calls:
            gate.wait_entered()
        host.daemon.shutdown()
        gate.opened.set()
        assert [call.result() for call in calls] == [0, 1, 2]
        host.loop.result()


def busy_then_idle(proxy, gate):
    """Bring about that a helper leads, and the thread of the loop sleeps."""
    call = Worker(proxy.hold)
    gate.wait_entered()
    assert proxy.echo(1) == 1
    gate.opened.set()
    call.result()
    threading.Event().wait(0.2)  # until the stand-by has given up looking; nothing tells when


def test_the_loop_ends_when_the_peer_is_gone_while_a_helper_leads():
    near, far = socket.socketpair()
    gate = Gate()
    with far:
        with near:
            host = ThreadHost(far, {"gate": gate})
            proxy = Proxy("gate", connected_socket=near)
            busy_then_idle(proxy, gate)
        host.loop.result()


def test_shutdown_while_a_helper_leads():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, host), Proxy("gate", connected_socket=sock) as proxy:
        busy_then_idle(proxy, gate)
        host.daemon.shutdown()
        assert elapsed(host.loop.result) < 0.9


def test_loop_condition_while_a_helper_leads():
    gate = Gate()
    go_on = True
    with hosted({"gate": gate}, condition=lambda: go_on) as (sock, host):
        with Proxy("gate", connected_socket=sock) as proxy:
            busy_then_idle(proxy, gate)
            go_on = False
            assert elapsed(host.loop.result) < 5


def test_loop_condition_ends_an_idle_loop(pair):
    near, far = pair
    go_on = True
    asked = []

    def condition():
        asked.append(1)
        return go_on

    host = ThreadHost(far, {"thing": Thing()}, condition=condition)
    with Proxy("thing", connected_socket=near) as proxy:
        for i in range(10):
            assert proxy.echo(i) == i
    assert len(asked) >= 10
    go_on = False
    assert elapsed(host.loop.result) < 5


def test_no_thread_reads_on_after_the_loop():
    """What a helper received after the end of the loop would be lost."""
    near, far = socket.socketpair()
    with near, far:
        gate = Gate()
        go_on = True
        host = ThreadHost(far, {"gate": gate}, condition=lambda: go_on)
        with Proxy("gate", connected_socket=near) as proxy:
            busy_then_idle(proxy, gate)
            go_on = False
            host.loop.result()
        wait_until(
            lambda: not [t for t in threading.enumerate() if t.name == "pyroipc-worker"],
            "the helpers have ended",
            timeout=2.0,
        )
        host = ThreadHost(far, {"thing": Thing()})
        with Proxy("thing", connected_socket=near) as proxy:
            assert proxy.echo(1) == 1
        host.stop()


def test_a_condition_that_raises_ends_the_loop(pair):
    host = ThreadHost(pair[1], {"thing": Thing()}, condition=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        host.loop.result()


def test_shutdown_does_not_disturb_a_proxy_on_the_same_socket():
    """Both ends host; one stops hosting while its own call is on its way."""
    left, right = socket.socketpair()
    gate = Gate()
    with left, right:
        far = ThreadHost(right, {"gate": gate})
        near = ThreadHost(left, {"thing": Thing()})
        proxy = Proxy("gate", connected_socket=left)
        call = Worker(proxy.hold, "kept")
        gate.wait_entered()
        near.daemon.shutdown()
        gate.opened.set()
        try:
            assert call.result() == "kept"
        except ConnectionClosedError:
            pass  # the goodbye of the daemon ended the conversation
        near.loop.result()
        for i in range(3):
            with contextlib.suppress(ConnectionClosedError):
                assert proxy.echo(i) == i
        assert proxy.echo("again") == "again"
        proxy._pyroRelease()
        far.stop()


def test_oneway_calls_are_flushed_when_the_peer_goes():
    gate = Gate()
    near, far = socket.socketpair()
    with far:
        with near:
            host = ThreadHost(far, {"gate": gate})
            proxy = Proxy("gate", connected_socket=near)
            for i in range(200):
                proxy.note(i)
        host.loop.result()
    assert gate.order == list(range(200))


def test_oneway_calls_are_flushed_when_the_daemon_stops():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, host), Proxy("gate", connected_socket=sock) as proxy:
        proxy.hold_oneway("slow")
        gate.wait_entered()
        for i in range(20):
            proxy.note(i)
        assert proxy.echo(1) == 1  # all have arrived
        host.daemon.shutdown()
        gate.opened.set()
        host.loop.result()
        assert gate.order == ["slow", *range(20)]


def test_a_slow_oneway_call_holds_up_no_calls():
    gate = Gate()
    with hosted({"gate": gate}) as (sock, _), Proxy("gate", connected_socket=sock) as proxy:
        proxy.hold_oneway("slow")
        gate.wait_entered()
        assert [proxy.echo(i) for i in range(20)] == list(range(20))
        gate.opened.set()


def test_waiting_oneway_calls_are_bounded():
    settings = pyroipc.config.copy()
    settings.ONEWAY_QUEUE = 10
    gate = Gate()
    done = []
    big = "b" * 10_000

    with hosted({"gate": gate}, settings=settings) as (sock, _):
        with Proxy("gate", connected_socket=sock) as proxy:
            proxy.hold_oneway("slow")
            gate.wait_entered()

            def flood():
                for _ in range(500):
                    proxy.note(big)
                    done.append(1)

            sender = Worker(flood)
            seen = -1
            while seen != len(done):
                seen = len(done)
                threading.Event().wait(0.1)
            assert len(done) < 400, "nobody made the sender wait"
            gate.opened.set()
            sender.result()
            assert proxy.echo(1) == 1
            wait_until(lambda: len(gate.order) == 501, "all have run")


def test_a_failed_oneway_call_is_logged(caplog):
    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        with caplog.at_level(logging.WARNING, "pyroipc.server"):
            assert proxy.fail_oneway() is None
            assert proxy.echo(1) == 1
        assert any("oneway" in record.message for record in caplog.records)


def test_names_added_to_the_oneway_set_count(pair):
    near, far = pair
    host = ThreadHost(far, {"thing": Thing()})
    with Proxy("thing", connected_socket=near) as proxy:
        assert proxy.echo(1) == 1
        proxy._pyroOneway.add("echo")
        assert proxy.echo(1) is None
    host.stop()


def test_session_instances_live_as_long_as_a_conversation():
    made = []

    @pyroipc.expose
    class Counter:
        def __init__(self):
            made.append(self)
            self.n = 0

        def count(self):
            self.n += 1
            return self.n

    @pyroipc.behavior(instance_mode="single")
    class Single(Counter):
        pass

    @pyroipc.behavior(instance_mode="percall")
    class PerCall(Counter):
        pass

    objects = {"session": Counter, "single": Single, "percall": PerCall}
    with hosted(objects) as (sock, _):
        counts = {name: [] for name in objects}
        for _ in range(2):
            proxies = [Proxy(name, connected_socket=sock) for name in objects]
            for proxy in proxies:
                counts[proxy._pyroObjectId] += [proxy.count(), proxy.count()]
            for proxy in proxies:
                proxy._pyroRelease()
    assert counts == {"session": [1, 2, 1, 2], "single": [1, 2, 3, 4], "percall": [1, 1, 1, 1]}
    assert len(made) == 2 + 1 + 4


# --- trust -----------------------------------------------------------------------------------


SONGS = []


def sing(song):
    SONGS.append(song)


class Canary:
    """Sings when it is unpickled."""

    def __reduce__(self):
        return sing, ("unpickled",)


@pytest.mark.parametrize("name", ["pickle", "cloudpickle", "marshal"])
def test_a_caller_refuses_code_over_tcp(name):
    with hosted({"thing": Thing()}, pair=tcp_pair) as (sock, _):
        proxy = Proxy("thing", connected_socket=sock)
        proxy._pyroSerializer = name
        with pytest.raises(SecurityError, match=r"verified local .*AF_INET"):
            proxy.echo(1)
        proxy._pyroSerializer = None
        assert proxy.echo(1) == 1
        with pytest.raises(SecurityError):
            proxy._pyroSerializer = name
        assert proxy.echo(1) == 1
        proxy._pyroRelease()


def test_serializers_accepted_narrows():
    SONGS.clear()
    with hosted({"thing": Thing()}, serializers_accepted={"json", "serpent"}) as (sock, _):
        proxy = Proxy("thing", connected_socket=sock)
        with pytest.raises((SecurityError, pyroipc.SerializeError), match="json, serpent"):
            proxy.echo(Canary())
        for name in ("json", "serpent"):
            proxy._pyroSerializer = name
            assert proxy.echo(1) == 1
        assert SONGS == []
        proxy._pyroRelease()


def test_local_channels_use_pickle_by_default():
    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        assert proxy.echo((1, {2})) == (1, {2})
        SONGS.clear()
        proxy.echo(Canary())
        assert SONGS


def test_settings_choose_the_serializers():
    settings = pyroipc.config.copy()
    settings.LOCAL_SERIALIZER = "json"
    with hosted({"thing": Thing()}) as (sock, _):
        with Proxy("thing", connected_socket=sock, settings=settings) as proxy:
            assert proxy.echo((1,)) == (1,)
            assert proxy._pyro_codec(proxy._pyro_connected()).serializer.name == "json"


def test_unknown_serializers_are_named():
    with hosted({"thing": Thing()}) as (sock, _), Proxy("thing", connected_socket=sock) as proxy:
        proxy.nothing()
        with pytest.raises(pyroipc.SerializeError, match="pickle"):
            proxy._pyroSerializer = "pikcle"
        assert proxy.echo(1) == 1


# --- limits ------------------------------------------------------------------------------------


def test_an_argument_over_the_limit_of_the_peer_is_an_error_of_that_call_only():
    settings = pyroipc.config.copy()
    settings.LOCAL_MAX_MESSAGE_SIZE = 100_000
    with hosted({"thing": Thing()}, settings=settings) as (sock, _):
        with Proxy("thing", connected_socket=sock) as proxy:
            assert proxy.size("x" * 90_000) == 90_000
            with pytest.raises(pyroipc.MessageTooLargeError):
                proxy.size("x" * 110_000)
            assert proxy.echo(1) == 1


def test_an_answer_over_the_limit_of_the_caller_is_an_error_of_that_call_only():
    settings = pyroipc.config.copy()
    settings.LOCAL_MAX_MESSAGE_SIZE = 100_000
    with hosted({"thing": Thing()}) as (sock, _):
        with Proxy("thing", connected_socket=sock, settings=settings) as proxy:
            assert len(proxy.blob(90_000)) == 90_000
            with pytest.raises(pyroipc.MessageTooLargeError):
                proxy.blob(110_000)
            assert proxy.echo(1) == 1


# --- wrong uses --------------------------------------------------------------------------------


def test_a_proxy_needs_a_name_and_a_socket():
    with pytest.raises(pyroipc.PyroError, match="invalid uri"):
        Proxy("thing")
    with pytest.raises(pyroipc.PyroError, match="connected_socket="):
        Proxy("PYRO:thing@<connected-socket>")
    near, far = socket.socketpair()
    with near, far:
        with pytest.raises(TypeError):
            Proxy(5, connected_socket=near)
        for uri in ("PYRO:thing@x:1", "PYRONAME:thing", "pyrometa:x"):
            with pytest.raises(pyroipc.PyroError, match="just the object's id"):
                Proxy(uri, connected_socket=near)


def test_a_daemon_serves_a_socket_or_addresses():
    near, far = socket.socketpair()
    with near, far:
        for address in ({"host": "localhost"}, {"port": 9999}, {"listen": ["localhost:0"]}):
            with pytest.raises(DaemonError, match="not both"):
                Daemon(connected_socket=near, **address)


def test_without_a_daemon_at_the_other_end():
    settings = pyroipc.config.copy()
    settings.HANDSHAKE_TIMEOUT = 0.2
    near, far = socket.socketpair()
    with near, far:
        proxy = Proxy("thing", connected_socket=near, settings=settings)
        with pytest.raises(pyroipc.TimeoutError, match="daemon"):
            proxy.echo(1)
        proxy._pyroRelease()


def test_two_proxies_face_each_other():
    near, far = socket.socketpair()
    settings = pyroipc.config.copy()
    settings.HANDSHAKE_TIMEOUT = 2.0
    with near, far:
        proxies = [Proxy("x", connected_socket=s, settings=settings) for s in (near, far)]
        workers = [Worker(proxy._pyroBind) for proxy in proxies]
        for worker in workers:
            assert isinstance(worker.finish(), pyroipc.PyroError)
        for proxy in proxies:
            proxy._pyroRelease()


# --- leaks -------------------------------------------------------------------------------------


def test_rounds_leave_nothing_behind():
    def round_of_sessions():
        for i in range(10):
            near, far = socket.socketpair()
            with near, far:
                host = ThreadHost(far, {"thing": Thing(), "gate": Gate()})
                with Proxy("thing", connected_socket=near) as proxy:
                    proxy.echo([i])
                    for kind in ("ValueError", "SystemExit"):
                        with pytest.raises(Exception, match=f"^{i}$"):
                            proxy.fail(kind, str(i))
                    proxy.note(i)
                    proxy._pyroTimeout = 0.001
                    with contextlib.suppress(pyroipc.TimeoutError):
                        proxy.blob(1 << 18)
                    proxy._pyroTimeout = None
                    proxy.value = i
                if i % 2:
                    host.stop()
            if not i % 2:
                host.loop.finish()
            del host, proxy

    def objects():
        wait_until(
            lambda: not [t for t in threading.enumerate() if t.name == "pyroipc-worker"],
            "the helpers have ended",
        )
        for _ in range(3):
            gc.collect()
        return len(gc.get_objects()), len(sessions)

    of_others = objects()[1]
    round_of_sessions()
    before = resources()
    counts = []
    for _ in range(4):
        round_of_sessions()
        counts.append(objects())
    assert lasting_differences(before) == []
    assert counts[-1][1] <= of_others + 10, "only those of the last round"
    assert len({n for n, _ in counts[1:]}) == 1, counts


@pytest.mark.parametrize("listens", [False, True])
def test_a_shutdown_that_comes_before_the_loop_is_not_lost(listens):
    near, far = socket.socketpair()
    with near, far, Daemon(**({"port": 0} if listens else {"connected_socket": far})) as daemon:
        daemon.shutdown()
        thread = threading.Thread(target=daemon.requestLoop)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        # Only that one: another loop serves, and a shutdown after a loop means nothing.
        daemon.shutdown()
        again = threading.Thread(target=daemon.requestLoop)
        again.start()
        again.join(0.1)
        assert again.is_alive()
        daemon.shutdown()
        again.join(PATIENCE)
        assert not again.is_alive()
