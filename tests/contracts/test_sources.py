"""The contract of sources: connecting, listening, accepting; for each kind of address."""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import socket
import struct
import threading
from time import monotonic

import pytest

from pyroipc.errors import ConnectError, DaemonError, TimeoutError
from pyroipc.location import Location
from pyroipc.transports import descriptors, table
from pyroipc.transports.base import Options, ShortageError
from tests.support.hosts import HANDLERS_RUN, Worker
from tests.support.leaks import lasting_differences, resources
from tests.support.networks import (
    PATIENCE,
    PLACES,
    Interrupted,
    closing,
    interrupting,
    places,
    silent,
    wait_for_client,
)
from tests.support.snippets import run_python

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=places())
def place(request, tmp_path):
    """A location to listen at."""
    table.get(PLACES[request.param][0])  # what it imports is no leak
    return PLACES[request.param][1](tmp_path)


@pytest.fixture
def listener(place):
    (made,) = table.listen(place, Options())
    yield made
    made.close()


@pytest.fixture
def ends(listener):
    """A client's socket, and the one that was accepted for it."""
    near = table.connect(listener.location, Options(), monotonic() + PATIENCE)
    far = wait_for_client(listener)
    with closing(near, far):
        yield near, far


def read(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv_into(buffer := bytearray(size - len(data)))
        assert more, "the stream ended"
        data += buffer[:more]
    return data


def test_every_source_is_tested():
    assert {source for source, _ in PLACES.values()} == set(table.names())


def test_both_directions(ends):
    near, far = ends
    data = random.Random(1).randbytes(300_000)
    for one, other in ((near, far), (far, near)):
        sender = Worker(one.sendall, data)
        assert read(other, len(data)) == data
        sender.result()


def test_end_of_stream(ends):
    near, far = ends
    descriptors.close(near)
    assert far.recv_into(bytearray(1)) == 0


def test_sockets_block_and_are_not_inherited(listener, ends):
    for sock in ends:
        assert sock.gettimeout() is None
        assert os.get_blocking(sock.fileno())
        assert not os.get_inheritable(sock.fileno())
    assert not os.get_blocking(listener.fileno())
    assert not os.get_inheritable(listener.fileno())


def test_default_timeouts_of_the_program_do_not_matter(place):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        (listener,) = table.listen(place, Options())
        with closing(listener):
            near = table.connect(listener.location, Options())
            far = wait_for_client(listener)
            with closing(near, far):
                assert near.gettimeout() is far.gettimeout() is None
                assert os.get_blocking(near.fileno())
                assert os.get_blocking(far.fileno())
                assert listener.sock.gettimeout() == 0
    finally:
        socket.setdefaulttimeout(before)


def test_nobody_waits(listener):
    assert listener.accept() is None


def test_a_selector_sees_clients(listener):
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    assert poll.poll(0) == []
    near = table.connect(listener.location, Options())
    with closing(near):
        assert poll.poll(PATIENCE * 1000) == [(listener.fileno(), select.POLLIN)]
        far = listener.accept()
        assert far is not None
        with closing(far):
            assert poll.poll(0) == []


def test_clients_come_in_their_order(listener):
    near = [table.connect(listener.location, Options()) for _ in range(20)]
    far = []
    with closing(*near):
        for i, sock in enumerate(near):
            sock.sendall(bytes([i]))
            far.append(wait_for_client(listener))
        with closing(*far):
            assert [read(sock, 1)[0] for sock in far] == list(range(20))


def test_clients_that_are_gone_before_they_are_accepted(listener):
    for _ in range(20):
        near = table.connect(listener.location, Options())
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        descriptors.close(near)
    for _ in range(20):  # each is None, or a socket that ends at once
        far = listener.accept()
        if far is not None:
            with closing(far):
                try:
                    assert far.recv_into(bytearray(1)) == 0
                except ConnectionResetError:
                    pass
    near = table.connect(listener.location, Options())
    with closing(near), closing(wait_for_client(listener)):
        pass


def test_close_any_number_of_times(listener):
    assert str(listener.location) in repr(listener)
    listener.close()
    listener.close()
    assert listener.fileno() == -1
    assert listener.accept() is None
    assert "closed" in repr(listener)


def test_nobody_listens_any_more(listener):
    location = listener.location
    listener.close()
    with pytest.raises(ConnectError, match="daemon") as caught:
        table.connect(location, Options(), monotonic() + PATIENCE)
    assert str(location) in str(caught.value)
    assert caught.value.call_status == "not sent"
    assert isinstance(caught.value.__cause__, OSError)


def test_listening_twice(listener):
    with pytest.raises(DaemonError, match="in use by another") as caught:
        table.listen(listener.location, Options())
    assert str(listener.location) in str(caught.value)
    near = table.connect(listener.location, Options())  # the first one is as good as before
    with closing(near), closing(wait_for_client(listener)):
        pass


def test_listening_again_at_once(listener, ends):
    _, far = ends
    location = listener.location
    descriptors.close(far)  # the listening end first: its port stays occupied for a minute
    listener.close()
    (again,) = table.listen(location, Options())
    with closing(again):
        assert again.location == location
        other = table.connect(location, Options())
        with closing(other), closing(wait_for_client(again)):
            pass


def test_a_deadline_that_has_passed(listener):
    with pytest.raises(TimeoutError, match="in time") as caught:
        table.connect(listener.location, Options(), monotonic() - 1)
    assert caught.value.call_status == "not sent"
    assert str(listener.location) in str(caught.value)


def test_a_daemon_that_does_not_answer(place):
    with silent(place) as (listener, waiting):
        begun = monotonic()
        with pytest.raises(TimeoutError, match="in time") as caught:
            table.connect(listener.location, Options(), begun + 0.3)
        assert 0.29 < monotonic() - begun < 5
        assert caught.value.call_status == "not sent"
        # And with somebody who waits for a place and gets one.
        connecting = Worker(
            table.connect, listener.location, Options(), monotonic() + 2 * PATIENCE
        )
        far = [wait_for_client(listener) for _ in waiting]
        near = connecting.result(2 * PATIENCE)
        with closing(near, *far):
            assert near.gettimeout() is None
            with closing(wait_for_client(listener)):
                pass


def test_signals_that_raise_nothing_do_not_disturb(place):
    with silent(place) as (listener, _), interrupting() as soon:
        seen = []
        signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with pytest.raises(TimeoutError):
            table.connect(listener.location, Options(), monotonic() + 0.3)
        soon(0)
        assert len(seen) > 3


def test_descriptors_run_out(listener):
    near = table.connect(listener.location, Options())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = []
    with closing(near):
        try:
            fillers.append(os.open(os.devnull, os.O_RDONLY))
            resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[0] + 1, hard))
            with pytest.raises(ShortageError, match="ulimit") as shortage:
                wait_for_client(listener)
            with pytest.raises(ConnectError, match="ulimit") as refusal:
                table.connect(listener.location, Options())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in fillers:
                os.close(fd)
        assert str(listener.location) in str(shortage.value)
        assert str(listener.location) in str(refusal.value)
        with closing(wait_for_client(listener)):  # the client has waited all the time
            pass


def test_nothing_is_left(place):
    before, known = resources(), len(descriptors._sockets)
    (listener,) = table.listen(place, Options())
    for _ in range(300):
        near = table.connect(listener.location, Options(), monotonic() + PATIENCE)
        far = wait_for_client(listener)
        descriptors.close(near)
        descriptors.close(far)
    location = listener.location
    listener.close()
    for _ in range(20):
        with pytest.raises(ConnectError):
            table.connect(location, Options())
    assert not lasting_differences(before)
    assert len(descriptors._sockets) == known


@pytest.mark.skipif(not HANDLERS_RUN, reason="this CPython forgets exception handlers")
def test_interrupted_connects(listener):
    chance = random.Random(7)
    stop = threading.Event()

    def accept():
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not stop.is_set():
            if poll.poll(50):
                sock = listener.accept()
                if sock is not None:
                    descriptors.close(sock)

    server = Worker(accept)
    before, known = resources(), len(descriptors._sockets)
    interrupted = 0
    with interrupting() as soon:
        for _ in range(1500):
            sock = None
            try:
                soon(chance.uniform(1e-6, 150e-6))
                sock = table.connect(listener.location, Options(), monotonic() + PATIENCE)
                soon(0)
            except Interrupted:
                interrupted += 1
            soon(0)
            if sock is not None:
                descriptors.close(sock)
    stop.set()
    server.result()
    assert interrupted > 50
    assert not lasting_differences(before)
    assert len(descriptors._sockets) == known


@pytest.mark.skipif(not HANDLERS_RUN, reason="this CPython forgets exception handlers")
def test_interrupted_accepts(listener):
    chance = random.Random(8)
    known = len(descriptors._sockets)
    before = resources()
    interrupted = got = 0
    with interrupting() as soon:
        for number in range(1500):
            near = table.connect(listener.location, Options())
            near.sendall(struct.pack("I", number))
            select.select([listener], [], [], PATIENCE)
            far = None
            patience = 40e-6  # more of it each time: a slow machine must get on, too
            while far is None:
                try:
                    soon(chance.uniform(1e-6, patience))
                    patience *= 2
                    far = listener.accept()
                    soon(0)
                except Interrupted:
                    interrupted += 1
                    if far is None and lost(listener, near):
                        break
            soon(0)
            if far is not None:
                # It is this client: none that was accepted before an interrupt was forgotten.
                assert struct.unpack("I", read(far, 4)) == (number,)
                got += 1
                descriptors.close(far)
            descriptors.close(near)
    assert interrupted > 50
    assert got > 100
    assert not lasting_differences(before)
    assert len(descriptors._sockets) == known


def lost(listener, near):
    """Say whether the client was closed by an accept that was interrupted after it had it."""
    near.settimeout(0)
    try:
        return near.recv_into(bytearray(1)) == 0
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        near.settimeout(None)


@pytest.mark.parametrize("name", places())
def test_forked_children_have_nothing_of_it(name, tmp_path):
    finished = run_python(
        f"""
        import os, sys
        from time import monotonic
        from pathlib import Path
        from pyroipc.transports import descriptors, table
        from pyroipc.transports.base import Options
        from tests.support.networks import PLACES, wait_for_client

        place = PLACES[{name!r}][1](Path({str(tmp_path)!r}))
        (listener,) = table.listen(place, Options())
        near = table.connect(listener.location, Options())
        far = wait_for_client(listener)
        numbers = [sock.fileno() for sock in (listener.sock, near, far)]
        child = os.fork()
        if not child:
            for number in numbers:
                try:
                    os.fstat(number)
                except OSError:
                    pass
                else:
                    os._exit(3)
            listener.accept()
            listener.close()  # it must not remove the parent's file
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        other = table.connect(listener.location, Options())
        for sock in (near, far, other, wait_for_client(listener)):
            descriptors.close(sock)
        listener.close()
        print("done")
        """
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("name", places())
def test_ephemeral_names_are_shown(name, tmp_path):
    place = PLACES[name][1](tmp_path)
    (listener,) = table.listen(place, Options())
    with closing(listener):
        assert listener.location.host == place.host
        assert listener.location.sockname == place.sockname
        assert listener.location.is_unix or 0 < listener.location.port < 65536
        assert Location.parse(str(listener.location)) == listener.location
