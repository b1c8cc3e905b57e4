"""Open files, sockets and pipes as arguments and results, and peers that misuse descriptors."""

from __future__ import annotations

import array
import gc
import io
import multiprocessing.connection
import os
import socket
import sys
import tempfile
import threading

import pytest

import pyroipc
from pyroipc import Proxy, SecurityError, SerializeError
from pyroipc.client.sockets import session_for
from pyroipc.protocol.hello import DESCRIPTORS
from pyroipc.transports.side import DESCRIPTORS_MAX, SideChannel, make_side_pair
from pyroipc.wire.message import (
    END,
    HELLO,
    OFFER,
    PONG,
    REQUEST,
    RESPONSE,
    WELCOME,
    FullMessage,
)
from pyroipc.wire.native import encode, encode_plain, plain_prefix
from tests.support.hosts import PAIRS, Worker, forked, hosted, unix_pair
from tests.support.raw import RawPeer, hello_frame
from tests.support.shared import SERIALIZERS, Holder
from tests.support.snippets import run_python, run_script
from tests.support.waiting import wait_until


@pytest.fixture(params=["pickle", "msgpack", "dill"])
def proxy(request):
    if request.param == "dill":
        pytest.importorskip("dill")
    with (
        forked({"it": Holder()}) as (near, _),
        Proxy("it", connected_socket=near) as made,
    ):
        made._pyroSerializer = request.param
        yield made


@pytest.fixture
def far():
    with forked({"it": Holder()}) as (near, _), Proxy("it", connected_socket=near) as made:
        yield made


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("mode", "buffering", "kind"),
    [
        ("r", -1, "TextIOWrapper"),
        ("r+", -1, "TextIOWrapper"),
        ("rb", -1, "BufferedReader"),
        ("r+b", -1, "BufferedRandom"),
        ("rb", 0, "FileIO"),
    ],
)
def test_files_arrive_as_what_they_are(proxy, tmp_path, mode, buffering, kind):
    path = tmp_path / "file"
    path.write_text("one\ntwo\nthree\n")
    with open(path, mode, buffering) as file:
        assert file.readline() in ("one\n", b"one\n")
        assert proxy.kind(file) == kind
        rest = proxy.read(file)
        assert rest == ("two\nthree\n" if "b" not in mode else b"two\nthree\n")
        file.seek(4)
        with proxy.echo(file) as back:
            assert back is not file
            assert type(back) is type(file)
            assert (back.name, back.mode) == (file.name, file.mode)
            assert back.read() == rest
            assert back.fileno() != file.fileno()
            assert not os.get_inheritable(back.fileno())
        assert not file.closed


@pytest.mark.parametrize("mode", ["w+", "w+b"])
def test_temporary_files_with_a_name_stay_the_senders(proxy, mode):
    with tempfile.NamedTemporaryFile(mode) as file:
        file.write("text" if mode == "w+" else b"text")
        file.seek(0)
        assert proxy.kind(file) == ("TextIOWrapper" if mode == "w+" else "BufferedRandom")
        assert proxy.read([file][0]) in ("text", b"text")
        with proxy.echo(file) as back:
            assert back.name == file.name
        gc.collect()
        assert os.path.exists(file.name)
    assert not os.path.exists(file.name)


def test_a_file_whose_position_nobody_knows(proxy, tmp_path):
    path = tmp_path / "file"
    path.write_text("one\ntwo\nthree\n")
    with open(path) as file:
        assert next(file) == "one\n"
        with pytest.raises(SerializeError, match=r"read ahead; use readline"):
            proxy.read(file)
        assert list(file) == ["two\n", "three\n"]
        file.seek(4)
        assert proxy.read(file) == "two\nthree\n"


MAIN_SCRIPT = """
import dataclasses, tempfile
import numpy, pyroipc

@dataclasses.dataclass
class Box:
    content: object

class Reader:
    def read(self, box):
        with box.content as file:
            return file.read()

    def add(self, box):
        box.content += 1
        return pyroipc.shared_owner(box.content) is not None

with pyroipc.spawn(Reader, start="fork") as reader:
    @dataclasses.dataclass
    class Later:
        content: object

    for cls in (Box, Later):
        with tempfile.TemporaryFile() as file:
            file.write(b"boxed")
            file.seek(0)
            assert reader.read(cls(file)) == b"boxed"
        array = pyroipc.shared_array(3)
        assert reader.add(cls(array))
        assert array.sum() == 3
"""


def test_in_objects_whose_class_is_in_the_main_module(tmp_path):
    (tmp_path / "script.py").write_text(MAIN_SCRIPT)
    finished = run_script(tmp_path / "script.py")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("first", ["pyroipc.shared_array(3)", "pyroipc.shared_buffer(3)"])
def test_shared_memory_that_was_made_before_the_first_connection(first):
    finished = run_python(f"""
        import pyroipc

        class Echo:
            def echo(self, value):
                return value

        made = {first}
        with pyroipc.spawn(Echo, start="fork") as echo:
            back = echo.echo(made)
            assert pyroipc.shared_owner(back) is pyroipc.shared_owner(made)
    """)
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr


@pytest.mark.parametrize("serializer", ["pickle", "msgpack", "serpent", "json", "marshal"])
def test_errors_name_what_is_at_fault_and_not_the_file(far, serializer):
    far._pyroSerializer = serializer
    with open(os.devnull, "rb") as file:
        with pytest.raises(SerializeError, match="lock"):
            far.echo([file, threading.Lock()])
        with pytest.raises(SerializeError, match="at most 16 descriptors go with one message"):
            far.echo([pyroipc.Descriptor(file) for _ in range(17)])


def test_text_keeps_its_encoding(proxy, tmp_path):
    path = tmp_path / "file"
    with open(path, "w", encoding="latin-1", errors="replace") as file:
        file.write("é")  # not flushed
        proxy.write(file, "ü€")
        file.write("ö")
    assert path.read_bytes() == "éü?ö".encode("latin-1")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("wb", "BufferedWriter"), ("ab", "BufferedWriter"), ("xb", "BufferedWriter")],
)
def test_writers(proxy, tmp_path, mode, kind):
    path = tmp_path / "file"
    with open(path, mode) as file:
        file.write(b"here ")
        assert proxy.kind(file) == kind
        proxy.write(file, b"there ")
        file.write(b"here")
    assert path.read_bytes() == b"here there here"


def test_a_file_as_a_result(proxy, tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    with proxy.open(str(path)) as file:
        assert file.read() == "content"
    with proxy.open(str(path), "rb") as file, proxy.echo([file])[0] as again:
        assert again.read() == b"content"


def test_several_and_nested(proxy, tmp_path):
    paths = [tmp_path / str(i) for i in range(10)]
    for path in paths:
        path.write_text(path.name)
    files = [open(path) for path in paths]  # noqa: SIM115
    back = proxy.echo({"files": files, "again": files[3]})
    assert [file.read() for file in back["files"]] == [str(i) for i in range(10)]
    for file in [*files, *back["files"], back["again"]]:
        file.close()


def test_a_closed_file_and_one_without_a_descriptor(proxy, tmp_path):
    with open(tmp_path / "file", "w") as file:
        pass
    with pytest.raises(SerializeError, match="closed"):
        proxy.echo(file)
    with pytest.raises(SerializeError):
        proxy.echo(io.BufferedReader(io.BytesIO(b"x")))
    assert proxy.echo(1) == 1


# ------------------------------------------------------------------------------ sockets and pipes


def test_a_connected_socket(proxy):
    near, other = socket.socketpair()
    near.settimeout(5)
    with near, other:
        back = proxy.echo(near)
        with back:
            assert (back.family, back.type, back.gettimeout()) == (near.family, near.type, 5)
            back.sendall(b"over it")
            assert other.recv(100) == b"over it"
        near.sendall(b"still open")
        assert other.recv(100) == b"still open"


def test_a_listening_socket(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(proxy.accept, listener)
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(b"hello worker")
        assert worker.result() == b"hello worker"


def test_pipes(proxy):
    readable, writable = os.pipe()
    with (
        pyroipc.Descriptor(readable, owned=True) as reader,
        pyroipc.Descriptor(writable, owned=True),
    ):
        os.write(writable, b"through the pipe")
        assert proxy.read_number(reader, 7) == b"through"
        with proxy.echo(reader) as back:
            assert os.read(back.fileno(), 100) == b" the pipe"
            number = back.fileno()
        with pytest.raises(OSError):
            os.fstat(number)
        os.fstat(readable)
    with pytest.raises(ValueError, match="closed"):
        reader.fileno()


def test_connections_of_multiprocessing(proxy):
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        writer.send({"a": 1})
        assert proxy.receive(reader) == {"a": 1}
        with proxy.echo([writer])[0] as back:
            assert type(back) is multiprocessing.connection.Connection
            assert (back.readable, back.writable) == (False, True)
            back.send("b")
        assert reader.recv() == "b"


LATE = """
import dataclasses, os, sys
import pyroipc
from pyroipc.client.references import types

@dataclasses.dataclass
class Box:
    content: object

def name(one):
    return os.readlink(f"/proc/self/fd/{one.fileno()}")

class Far:
    def names(self, *found, large=None, **named):
        return [name(one) for one in (*found, *named.values())]

    def unpacked(self, value):
        content = value.content if isinstance(value, Box) else value
        return self.names(*[one for one in content if not isinstance(one, bytes)])

    def make(self):
        from multiprocessing import Pipe
        self.ends = Pipe()
        return [self.ends[0], Box(self.ends[1])]

    def made(self):
        return self.names(*self.ends)

if __name__ == "__main__":
    with pyroipc.spawn(Far, start="fork") as handle:
        far = handle.proxy
        far._pyroSerializer = sys.argv[1]
        assert far.names() == []
        assert "multiprocessing.connection" not in sys.modules
        first, second = far.make()
        assert [name(first), name(second.content)] == far.made()
        for call in (
            lambda one: far.names(one),
            lambda one: far.names(one=one),
            lambda one: far.names(one, large=bytearray(100_000)),
            lambda one: far.unpacked([one]),
            lambda one: far.unpacked((bytes(100_000), one)),
            lambda one: far.unpacked(Box({one})),
            lambda one: far.names.submit(one).result(),
        ):
            types.clear()  # as if this were the first that is sent
            assert call(first) == [name(first)]
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="Linux")
@pytest.mark.parametrize("serializer", ["pickle", "cloudpickle", "dill"])
def test_connections_of_multiprocessing_that_come_late(tmp_path, serializer):
    """Their module was imported after the session was made; pickle would copy their numbers."""
    path = tmp_path / "late.py"
    path.write_text(LATE)
    done = run_script(path, serializer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux")
def test_memory_files(far):
    with open(os.memfd_create("test"), "w+b") as file:
        far.write(file, b"data")
        file.seek(0)
        assert file.read() == b"data"


# -------------------------------------------------------------------------------- where it cannot


@pytest.mark.parametrize("serializer", ["msgpack", "serpent", "json"])
def test_over_tcp_it_says_why_not(serializer, tmp_path):
    with (
        hosted({"it": Holder()}, pair=PAIRS["tcp"]) as (near, _),
        Proxy("it", connected_socket=near) as far,
        open(tmp_path / "file", "w") as file,
    ):
        far._pyroSerializer = serializer
        for thing in (file, near, pyroipc.Descriptor(file), [file]):
            with pytest.raises(SerializeError, match=r"verified local.*AF_INET"):
                far.echo(thing)
        assert far.echo(1) == 1


def test_over_tcp_a_returned_file_is_an_iterator_of_its_lines(tmp_path):
    path = tmp_path / "file"
    path.write_text("one\ntwo\n")
    holder = Holder()
    with (
        hosted({"it": holder}, pair=PAIRS["tcp"]) as (near, _),
        Proxy("it", connected_socket=near) as far,
        open(path) as file,
    ):
        holder.hold(file)
        assert list(far.give()) == ["one\n", "two\n"]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_not_where_messages_are_compressed(serializer, tmp_path):
    chosen = pyroipc.Settings()
    chosen.COMPRESSION = True
    with (
        hosted({"it": Holder()}, settings=chosen) as (near, _),
        Proxy("it", connected_socket=near, settings=chosen) as far,
        open(tmp_path / "file", "w") as file,
    ):
        far._pyroSerializer = serializer
        reader, writer = multiprocessing.Pipe(duplex=False)
        with reader, writer:
            for thing in (file, reader, [reader], {"a": (writer, bytes(100_000))}):
                with pytest.raises(SerializeError, match="compressed"):
                    far.echo(thing)


def test_too_many(far, tmp_path):
    with open(tmp_path / "file", "w") as file:
        some = [pyroipc.Descriptor(file) for _ in range(DESCRIPTORS_MAX + 1)]
        assert len(far.echo(some[:-1])) == DESCRIPTORS_MAX
        with pytest.raises(SerializeError, match="16 descriptors"):
            far.echo(some)
        same = far.echo([file] * 100)  # one object, which pickle sends once
        assert len(same) == 100
        same[0].close()


# ------------------------------------------------------------------------------------------ leaks


def test_nothing_is_left_whatever_happens(far, tmp_path):
    # Not the file itself: pytest keeps files that were not closed.
    with open(tmp_path / "file", "w") as file, pyroipc.Descriptor(file) as thing:
        far.echo(thing).close()
        before = far.links()
        for _ in range(20):
            far.kind(thing)
            far.echo(thing).close()
            with pytest.raises(ValueError, match="on purpose"):
                far.fail_with(thing)
            with pytest.raises(AttributeError):
                far._pyroInvoke("no_such_member", [thing], {})
            far.hold_soon(thing)
        wait_until(lambda: far.drop() or far.links() == before, "nothing is left at the other end")


def test_an_answer_that_came_too_late(far, tmp_path):
    with open(tmp_path / "file", "w") as file:
        far.hold(file)
    far._pyroTimeout = 0.01
    for _ in range(3):
        with pytest.raises(pyroipc.TimeoutError):
            far.give_later()
    far._pyroTimeout = None
    far.open_gate()
    assert far.echo(1) == 1
    with far.give() as back:
        assert back.writable()


def test_a_peer_that_is_killed_meanwhile(tmp_path):
    with (
        open(tmp_path / "file", "w") as file,
        forked({"it": Holder()}) as (near, child),
        Proxy("it", connected_socket=near) as far,
    ):
        far.hold(file)
        child.kill()
        child.wait()
        with pytest.raises(pyroipc.ConnectionClosedError):
            far.hold(file)


def test_threads_pass_files_at_the_same_time(far, tmp_path):
    from tests.support.hosts import together

    def work(index):
        path = tmp_path / str(index)
        path.write_text(str(index))

        def run():
            for _ in range(30):
                with open(path) as file:
                    assert far.read(file) == str(index)
                assert far.echo(index) == index

        return run

    together(*(work(index) for index in range(6)), timeout=40)


def test_a_daemon_with_many_clients(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    with pyroipc.Daemon(unixsocket=str(tmp_path / "socket")) as daemon:
        uri = daemon.register(Holder(), "it")
        loop = Worker(daemon.requestLoop)
        with Proxy(uri) as one, Proxy(uri) as two:
            with open(path) as file:
                assert one.read(file) == "content"
            for far in (two, one, two):  # the daemon sends first over the second connection
                with far.open(str(path)) as back:
                    assert back.read() == "content"
            futures = [two.open.submit(str(path)) for _ in range(10)]
            for future in futures:
                with future.result(10) as back:
                    assert back.read() == "content"
            one.drop()
        daemon.shutdown()
        loop.result()


def test_two_ends_offer_at_the_same_time(tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    for _ in range(10):
        with hosted({"it": Holder()}) as (near, _), Proxy("it", connected_socket=near) as far:
            start = threading.Barrier(2)

            def out(start=start, far=far):
                start.wait(5)
                with open(path) as file:
                    return far.read(file)

            def back(start=start, far=far):
                start.wait(5)
                with far.open(str(path)) as file:
                    return file.read()

            workers = [Worker(out), Worker(back)]
            assert [worker.result() for worker in workers] == ["content"] * 2
            far.drop()


# ---------------------------------------------------------------------------------- hostile peers

_OFFER = plain_prefix(OFFER, 0, 0)
_HERE = plain_prefix(OFFER, 0, END)


def with_rights(sock, data, numbers):
    rights = array.array("i", numbers)
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


@pytest.fixture
def raw():
    with hosted({"it": Holder()}) as (near, _):
        peer = RawPeer(near)
        peer.greet()
        yield peer


def test_descriptors_that_nobody_expects_are_closed(raw):
    readable, writable = os.pipe()
    for _ in range(5):
        with_rights(raw.sock, encode_plain(plain_prefix(3, 0, 0), 7, b"ping"), [readable])
        assert raw.read().kind == PONG
    os.close(readable)
    with pytest.raises(BrokenPipeError):  # nobody else has the other end
        os.write(writable, b"x")
    os.close(writable)


def test_offers_without_and_with_the_wrong_thing(raw):
    raw.send(encode_plain(_HERE, 5, b""))
    assert b"no descriptor came" in bytes(raw.read().payload)
    readable, writable = os.pipe()
    for numbers in ([readable], [readable] * 10):
        raw.send(encode_plain(_OFFER, 6, b""))
        assert bytes(raw.read().payload) == b""
        with_rights(raw.sock, encode_plain(_HERE, 7, b""), numbers)
        assert b"no socket for descriptors" in bytes(raw.read().payload)
    os.close(readable)
    with pytest.raises(BrokenPipeError):
        os.write(writable, b"x")
    os.close(writable)


def established(raw):
    raw.send(encode_plain(_OFFER, 6, b""))
    assert bytes(raw.read().payload) == b""
    side, far = make_side_pair()
    with_rights(raw.sock, encode_plain(_HERE, 7, b""), [far.fileno()])
    assert bytes(raw.read().payload) == b""
    far.close()
    return side


def request(number, count, value="x"):
    from pyroipc.serializers import table
    from pyroipc.serializers.base import PeerImage

    codec = table.get("msgpack").for_connection(PeerImage())
    payload = codec.dumps_call("it", "kind", (value,), None)
    message = FullMessage(REQUEST, codec.id, 0, number, payload, descriptors=count)
    return b"".join(bytes(part) for part in encode(message))


def test_packets_that_do_not_fit_their_messages(raw):
    side = established(raw)
    readable, writable = os.pipe()
    for number in range(50):
        side.send(REQUEST, 1000 + number, [readable] * 16)  # of messages that never come
    for number in (100, 101):
        side.send(REQUEST, number, [readable])
        raw.send(request(number, 1))  # names none: it is closed
        assert raw.read().kind == RESPONSE
    raw.send(request(102, 3))  # says that there are three, and there is none
    assert raw.read().kind == RESPONSE
    os.close(readable)
    with pytest.raises(BrokenPipeError):
        os.write(writable, b"x")
    os.close(writable)
    side.close()


def test_no_third_socket(raw):
    sides = [established(raw), established(raw)]
    raw.send(encode_plain(_OFFER, 8, b""))
    assert b"already" in bytes(raw.read().payload)
    for side in sides:
        side.close()


def test_offers_of_strangers_are_refused():
    with hosted({"it": Holder()}, pair=PAIRS["tcp"]) as (near, _):
        peer = RawPeer(near)
        peer.greet()
        peer.send(encode_plain(_OFFER, 5, b""))
        assert b"takes no descriptors" in bytes(peer.read().payload)
        peer.send(request(6, 1))
        assert b"not supported" in bytes(peer.read().payload)


@pytest.mark.skipif(sys.platform != "linux", reason="seals")
def test_memory_that_could_shrink_is_refused():
    from pyroipc.transports.segments import adopt_segment

    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    with pytest.raises(SecurityError, match="smaller"):
        adopt_segment(os.dup(fd), bytes(16), 4096, 1 << 30, lambda: None)
    with pytest.raises(SecurityError, match="no shared memory"):
        adopt_segment(os.dup(fd), bytes(16), 8192, 1 << 30, lambda: None)
    readable, writable = os.pipe()
    with pytest.raises(SecurityError, match="no shared memory"):
        adopt_segment(readable, bytes(16), 4096, 1 << 30, lambda: None)
    for number in (fd, writable):
        os.close(number)


def test_peers_that_do_not_know_descriptors(tmp_path):
    near, other = unix_pair()
    with near, other, open(tmp_path / "file", "w") as file:
        peer = RawPeer(other)

        def answer():
            hello = peer.expect(HELLO)
            peer.send(hello_frame(WELCOME, hello.request_id, serializers=SERIALIZERS))

        worker = Worker(answer)
        session = session_for(near)
        session.open()
        worker.result()
        assert DESCRIPTORS not in session.peer_hello.features
        reader, writer = multiprocessing.Pipe()
        with reader, writer:
            for name in SERIALIZERS:
                codec = session.codecs.get(name)
                for thing in (file, [reader]):
                    with pytest.raises(SerializeError, match=r"no descriptors|older version"):
                        codec.dumps_call("it", "echo", (thing,), None)
        del session, codec


def test_parcels_close_what_is_left():
    side, far = make_side_pair()
    other = SideChannel.adopt(os.dup(far.fileno()))
    far.close()
    readable, writable = os.pipe()
    assert side.send(REQUEST, 1, [readable, readable])
    parcel = other.receive(REQUEST, 1, 2)
    number = parcel.take(1)
    with pytest.raises(SerializeError, match="named twice"):
        parcel.take(1)
    with pytest.raises(SerializeError, match="no descriptor 2"):
        parcel.take(2)
    del parcel
    gc.collect()
    os.close(readable)
    os.write(writable, b"x")
    assert os.read(number, 1) == b"x"
    os.close(number)
    with pytest.raises(BrokenPipeError):
        os.write(writable, b"x")
    os.close(writable)
    assert other.receive(REQUEST, 2, 1) is None
    side.close()
    other.close()
