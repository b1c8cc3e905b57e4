"""The end of a daemon that listens: from anywhere, at any moment, by signals, through forks."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
import weakref

import pytest

from pyroipc import (
    ConnectionClosedError,
    Daemon,
    DaemonError,
    ForkedConnectionError,
    Proxy,
    SecurityError,
    expose,
)
from pyroipc.wire.message import GOODBYE, RESPONSE
from tests.support.daemons import child_serving, settings
from tests.support.hosts import HANDLERS_RUN, PATIENCE, Child, Worker
from tests.support.network_hosts import (
    Gate,
    await_end,
    both_servers,
    gated,
    is_closed,
    knock,
    raw_client,
)
from tests.support.raw import call_frame
from tests.support.snippets import run_python
from tests.support.waiting import wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
STRANGER = 4242


# ------------------------------------------------------------------------ shutdown and close


@both_servers
def test_an_idle_daemon_ends_at_once(server):
    with gated(server) as (served, _), raw_client(served) as peer:
        start = time.monotonic()
        served.daemon.shutdown()
        await_end(served)
        assert time.monotonic() - start < 3
        assert bytes(peer.expect(GOODBYE).payload).startswith(b"left: the daemon stopped")
        assert is_closed(peer.sock)


@both_servers
def test_a_daemon_that_has_just_begun_ends_as_well(server):
    for _ in range(30):
        with gated(server) as (served, _):
            wait_until(lambda: "serving" in repr(served.daemon), "the loop runs")
            served.daemon.shutdown()
            await_end(served)


def test_a_call_that_runs_is_answered_before_the_goodbye():
    with gated() as (served, gate), raw_client(served) as peer, raw_client(served) as idle:
        peer.send(call_frame(2, "hold", "kept", object_id="gate"))
        gate.await_entered()
        served.daemon.shutdown()
        gate.opened.set()
        assert peer.expect(RESPONSE).request_id == 2
        assert bytes(peer.expect(GOODBYE).payload).startswith(b"left")
        assert bytes(idle.expect(GOODBYE).payload).startswith(b"left")
        await_end(served)


@both_servers
def test_an_answer_that_is_on_its_way_arrives_whole(server):
    with gated(server) as (served, _), raw_client(served) as slow:
        slow.send(call_frame(2, "letters", 12 << 20, object_id="gate"))
        slow.decoder.received = slow.sock.recv_into(slow.decoder.get_buffer())  # it has begun
        served.daemon.shutdown()
        assert len(slow.expect(RESPONSE).payload) == (12 << 20) + 2
        slow.expect(GOODBYE)
        await_end(served)


@both_servers
def test_a_deaf_client_does_not_hold_up_the_end(server):
    with gated(server) as (served, _), raw_client(served) as deaf:
        deaf.send(call_frame(2, "letters", 32 << 20, object_id="gate"))
        wait_until(lambda: deaf.sock.recv(1, socket.MSG_PEEK), "the answer comes")
        start = time.monotonic()
        served.daemon.shutdown()
        await_end(served)
        assert time.monotonic() - start < 3


@both_servers
def test_a_method_may_close_its_daemon(server):
    class Ender:
        @expose
        def end(self):
            served.daemon.close()
            return "closed"

    with gated(server) as (served, _):
        uri = served.daemon.register(Ender(), "ender")
        with Proxy(uri) as proxy:
            assert proxy.end() == "closed"
            await_end(served)
        with pytest.raises(OSError):
            knock(served)


def test_a_call_that_outlives_its_daemon_is_not_said_to_be_safe(monkeypatch):
    for module in ("relay", "network"):
        monkeypatch.setattr(f"pyroipc.server.loops.{module}.FINISH_SECONDS", 0.1)
    gate = Gate()
    daemon = Daemon(host="127.0.0.1")
    with Proxy(daemon.register(gate, "gate")) as proxy:
        daemon.events()  # from here on threads serve it, of which none has to return
        assert proxy.echo(1) == 1
        held = Worker(proxy.hold)
        gate.await_entered()
        daemon.close()
        error = held.finish()
        assert isinstance(error, ConnectionClosedError)
        assert error.call_status == "unknown"
        gate.opened.set()


@both_servers
def test_addresses_are_free_again_at_once(server):
    with gated(server) as (served, _):
        port = served.port
        with served.proxy("gate") as proxy:
            proxy.echo(1)
            served.daemon.close()
            with Daemon(host="127.0.0.1", port=port) as again:
                assert again.locations[0].port == port


def test_a_drained_daemon_is_used_up():
    with gated() as (served, _):
        served.daemon.drain()
        await_end(served)
        with pytest.raises(DaemonError, match="was drained"):
            served.daemon.requestLoop()


@both_servers
def test_whoever_asks_while_the_daemon_drains_is_told_to_ask_elsewhere(server):
    with gated(server) as (served, gate), raw_client(served) as busy, raw_client(served) as late:
        busy.send(call_frame(2, "hold", object_id="gate"))
        gate.await_entered()
        served.daemon.drain()
        late.send(call_frame(2, "echo", object_id="gate"))
        if server == "thread":
            assert b"DrainingError" in bytes(late.expect(RESPONSE).payload)
            late.send(call_frame(3, "echo", object_id="gate"))
        gate.opened.set()  # with one thread nobody can answer before
        assert b"DrainingError" in bytes(late.expect(RESPONSE).payload)
        assert busy.expect(RESPONSE).request_id == 2
        await_end(served)
        assert is_closed(late.sock)
        with pytest.raises(OSError):
            knock(served)


# -------------------------------------------------------------------------- without an end


@both_servers
def test_a_daemon_that_is_forgotten_gives_back_all_it_has(server):
    def forget():
        daemon = Daemon(host="127.0.0.1", settings=settings(SERVERTYPE=server))
        daemon.register(Gate(), "gate")
        assert daemon.sockets
        return weakref.ref(daemon), daemon.locations[0].port

    gone, port = forget()
    with pytest.warns(ResourceWarning, match="unclosed daemon"):
        gc.collect()
    assert gone() is None
    with Daemon(host="127.0.0.1", port=port):
        pass


def test_a_daemon_that_is_left_open_at_the_end_of_the_program(tmp_path):
    path = tmp_path / "d.sock"
    script = f"import pyroipc\ndaemon = pyroipc.Daemon(unixsocket={str(path)!r})\n"
    done = run_python(script, options=("-W", "always::ResourceWarning"))
    assert done.returncode == 0
    assert "unclosed daemon" in done.stderr
    assert "Exception ignored" not in done.stderr
    assert not path.exists()


def test_a_unix_socket_is_removed_and_has_its_mode(tmp_path):
    path = tmp_path / "d.sock"
    with Daemon(unixsocket=str(path)) as daemon:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert daemon.locationStr == f"./u:{path}"
    assert not path.exists()


# -------------------------------------------------------------------------------- signals


@expose
class Teller(Gate):
    """An object of another process that tells this one through a pipe when a call runs."""

    def __init__(self):
        super().__init__()
        self._reader, self._writer = os.pipe()

    def close(self):
        os.close(self._reader)
        os.close(self._writer)

    def heard(self):
        return os.read(self._reader, 1)

    def pause(self, seconds):
        os.write(self._writer, b"p")
        self.opened.wait(seconds)
        return "done"

    def fork(self, tell):
        """Fork a child that waits; return its id."""
        pid = os.fork()
        if not pid:
            try:
                os.write(self._writer, tell.encode())
                threading.Event().wait(PATIENCE)
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(0)
        return pid

    def end_of(self, pid, number):
        os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Interruptible(Daemon):
    """Has the handler of Ctrl-C that a program has, and says how its loop ended."""

    def requestLoop(self, loopCondition=None):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().requestLoop(loopCondition)
        except KeyboardInterrupt:
            os._exit(3)


class OwnHandler(Daemon):
    def requestLoop(self, loopCondition=None):
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(4))
        super().requestLoop(loopCondition)


@contextlib.contextmanager
def telling(server, factory=Daemon):
    with contextlib.closing(Teller()) as teller:
        options = settings(SERVERTYPE=server)
        with child_serving({"gate": teller}, factory=factory, settings=options) as served:
            yield served, teller


def await_refusal(peer):
    """Ask until the daemon says that it is about to stop: it has taken the signal."""
    for i in itertools.count(2):
        peer.send(call_frame(i, "echo", object_id="gate"))
        if b"DrainingError" in bytes(peer.expect(RESPONSE).payload):
            return


@both_servers
def test_sigterm_lets_calls_finish_and_the_loop_return(server):
    with telling(server) as (served, teller), served.proxy("gate") as proxy:
        with raw_client(served) as late:
            proxy.echo(1)
            held = Worker(proxy.pause, 0.3)
            assert teller.heard() == b"p"
            served.child.kill(signal.SIGTERM)
            await_refusal(late)
            assert held.result() == "done"
        assert served.child.wait() == 0


def test_a_second_sigterm_ends_the_process():
    with contextlib.ExitStack() as stack:
        served, teller = stack.enter_context(telling("thread"))
        proxy = stack.enter_context(served.proxy("gate"))
        other = stack.enter_context(raw_client(served))
        proxy.echo(1)
        held = Worker(proxy.pause, 5)
        assert teller.heard() == b"p"
        served.child.kill(signal.SIGTERM)
        await_refusal(other)
        served.child.kill(signal.SIGTERM)
        assert served.child.wait() == -signal.SIGTERM
        assert isinstance(held.finish(), ConnectionClosedError)


def test_a_handler_of_the_program_is_left_alone():
    with telling("thread", OwnHandler) as (served, _), served.proxy("gate") as proxy:
        proxy.echo(1)
        served.child.kill(signal.SIGTERM)
        assert served.child.wait() == 4


@both_servers
def test_ctrl_c_ends_a_loop_in_good_order(server):
    with contextlib.ExitStack() as stack:
        served, _ = stack.enter_context(telling(server, Interruptible))
        idle, peer = (stack.enter_context(raw_client(served)) for _ in range(2))
        peer.send(call_frame(2, "echo", object_id="gate"))
        peer.expect(RESPONSE)
        served.child.kill(signal.SIGINT)
        assert bytes(idle.expect(GOODBYE).payload).startswith(b"left")
        assert bytes(peer.expect(GOODBYE).payload)
        assert served.child.wait() == 3


@pytest.mark.skipif(not HANDLERS_RUN, reason="see there")
def test_ctrl_c_in_a_method_is_an_answer_and_the_end():
    with telling("multiplex", Interruptible) as (served, teller), raw_client(served) as peer:
        peer.send(call_frame(2, "pause", 9, object_id="gate"))
        assert teller.heard() == b"p"
        served.child.kill(signal.SIGINT)
        assert b"KeyboardInterrupt" in bytes(peer.expect(RESPONSE).payload)
        assert served.child.wait() == 3


@both_servers
def test_children_of_methods_are_ended_by_the_first_signal(server):
    with telling(server, Interruptible) as (served, teller), served.proxy("gate") as proxy:
        for number, status in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 7)):
            pid = proxy.fork("f")
            assert teller.heard() == b"f"
            assert proxy.end_of(pid, int(number)) == status
        assert proxy.echo(1) == 1


# ---------------------------------------------------------------------------------- forks


@linux
@both_servers
def test_a_forked_child_has_nothing_of_the_daemon_and_the_parent_all(server):
    before = set(os.listdir("/proc/self/fd"))

    def look_around():
        numbers = set(os.listdir("/proc/self/fd")) - before
        for number in numbers:
            with contextlib.suppress(OSError):
                what = os.readlink(f"/proc/self/fd/{number}")
                assert "socket" not in what, what
                assert "eventpoll" not in what, what
        for use in (daemon.requestLoop, daemon.events):
            with pytest.raises(ForkedConnectionError):
                use()
        daemon.close()

    options = settings(SERVERTYPE=server)
    with Daemon(host="127.0.0.1", settings=options) as daemon:
        uri = daemon.register(Gate(), "gate")
        going = threading.Event()
        going.set()
        with Proxy(uri) as proxy:
            for i in range(2):
                loop = Worker(daemon.requestLoop, going.is_set)
                assert proxy.echo(i) == i
                going.clear()
                loop.result()
                going.set()
                assert Child(look_around).wait() == 0
            loop = Worker(daemon.requestLoop)
            assert proxy.echo("still here") == "still here"
            daemon.shutdown()
            loop.result()


# --------------------------------------------------------------------------- unix sockets


@root
@pytest.mark.parametrize("allowed", [(), (STRANGER,)], ids=["stranger", "allowed"])
def test_processes_of_others_are_let_in_by_name_only(allowed):
    def stranger():
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        for serializer in ("serpent", "pickle"):
            with Proxy(uri) as proxy:
                proxy._pyroSerializer = serializer
                if allowed and serializer == "serpent":
                    assert proxy.echo("hi") == "hi"
                else:  # whom we do not trust gives us nothing that could run code
                    with pytest.raises(SecurityError):
                        proxy.echo("hi")

    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/d.sock"
        with Daemon(unixsocket=path, allowed_uids=allowed) as daemon:
            os.chmod(path, 0o666)
            uri = daemon.register(Gate(), "gate")
            loop = Worker(daemon.requestLoop)
            assert Child(stranger).wait() == 0
            with Proxy(uri) as proxy:
                assert proxy.echo({1, 2}) == {1, 2}  # we ourselves may even use pickle
            daemon.shutdown()
            loop.result()
