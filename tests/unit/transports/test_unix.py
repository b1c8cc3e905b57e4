"""pyroipc/transports/unix.py: files that are there already, permissions, who removes them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
import threading
from time import monotonic

import pytest

from pyroipc.errors import ConnectError, DaemonError
from pyroipc.location import Location
from pyroipc.transports import descriptors, unix
from pyroipc.transports.base import Options
from pyroipc.transports.trust import identify_peer
from tests.support.hosts import Child, Worker
from tests.support.leaks import lasting_differences, resources
from tests.support.networks import closing, wait_for_client
from tests.support.snippets import run_python

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sock"


def at(path):
    return Location(sockname=str(path))


def listen(path, **options):
    (listener,) = unix.listen(at(path), Options(**options))
    return listener


def leave_behind(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def works(listener):
    near = unix.connect(listener.location, Options(), monotonic() + 10)
    with closing(near), closing(wait_for_client(listener)):
        return identify_peer(near).trusted


# ------------------------------------------------------------------------------ permissions


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o177])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o700])
def test_permissions_do_not_depend_on_the_umask(path, mode, umask):
    before = os.umask(umask)
    try:
        listener = listen(path, unix_mode=mode)
    finally:
        os.umask(before)
    with closing(listener):
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert works(listener)


def test_private_from_the_first_moment(path, monkeypatch):
    seen = []

    class Watched(unix.UnixListener):
        __slots__ = ()

        def __init__(self, *args):
            seen.append(stat.S_IMODE(path.stat().st_mode))  # right after the file was made
            with pytest.raises(ConnectError):
                unix.connect(at(path), Options())
            super().__init__(*args)

    monkeypatch.setattr(unix, "UnixListener", Watched)
    before = os.umask(0)
    try:
        listener = listen(path)
    finally:
        os.umask(before)
    listener.close()
    assert seen == [0o600] or sys.platform != "linux"


def test_other_users_cannot_connect(tmp_path):
    finished = run_python(
        f"""
        import os
        from pyroipc.errors import ConnectError
        from pyroipc.location import Location
        from pyroipc.transports import unix
        from pyroipc.transports.base import Options
        directory = {str(tmp_path)!r}
        path = f"{{directory}}/s.sock"
        (listener,) = unix.listen(Location(sockname=path), Options())
        if os.geteuid() == 0:
            above = directory
            while above != "/":
                os.chmod(above, os.stat(above).st_mode | 0o111)
                above = os.path.dirname(above)
            os.seteuid(65534)
        else:  # the permission of the owner is what counts then
            os.chmod(path, 0)
        try:
            unix.connect(Location(sockname=path), Options())
        except ConnectError as error:
            print(error)
        """
    )
    assert "permission denied; a daemon opens its socket to its own user only" in finished.stdout


# ------------------------------------------------------------------- what is there already


def test_a_socket_that_was_left_behind_is_replaced(path):
    leave_behind(path)
    listener = listen(path)
    with closing(listener):
        assert works(listener)
    assert not path.exists()


def test_a_socket_that_was_left_behind_by_a_killed_process(path):
    child = Child(lambda: (listen(path), os.kill(os.getpid(), 9)))
    assert child.wait() == -9
    assert path.is_socket()
    with pytest.raises(ConnectError, match="nobody listens there: the file was left behind"):
        unix.connect(at(path), Options())
    listener = listen(path)
    with closing(listener):
        assert works(listener)


def test_a_socket_in_use_stays(path):
    ready, told = os.pipe()

    def host():
        with closing(listen(path)):
            os.write(told, b"!")
            os.close(told)
            os.read(ready_to_end, 1)

    ready_to_end, end = os.pipe()
    child = Child(host)
    os.read(ready, 1)
    try:
        with pytest.raises(DaemonError, match=f"in use by process {child.pid};"):
            listen(path)
        assert path.is_socket()
    finally:
        os.write(end, b"!")
        for fd in (ready, told, ready_to_end, end):
            os.close(fd)
    assert child.wait() == 0
    assert not path.exists()


def test_a_socket_whose_daemon_accepts_nobody_stays(path):
    waiting = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with closing(*waiting):
            for _ in range(3):
                sock = socket.socket(socket.AF_UNIX)
                waiting.append(sock)
                sock.setblocking(False)
                sock.connect_ex(str(path))
            with pytest.raises(DaemonError, match="in use by another process"):
                listen(path)
        for sock in waiting:
            sock.close()
        assert path.is_socket()


def test_a_socket_of_another_kind_stays(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(DaemonError, match="in use by another process"):
            listen(path)
        with pytest.raises(ConnectError, match="a socket of another kind"):
            unix.connect(at(path), Options())
    assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "fifo"])
def test_what_is_no_socket_is_never_removed(path, tmp_path, kind):
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        leave_behind(tmp_path / "target")
        path.symlink_to(tmp_path / "target")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nothing")
    else:
        os.mkfifo(path)
    before = path.lstat()
    with pytest.raises(DaemonError, match="a file of that name that is no socket"):
        listen(path)
    assert path.lstat().st_ino == before.st_ino


def test_processes_that_start_together(path):
    # In each round all find the socket that the round before left behind; exactly one may win.
    for _ in range(15):
        go, gun = os.pipe()
        told, tell = os.pipe()
        end, hold = os.pipe()

        def compete(go=go, gun=gun, tell=tell, end=end, hold=hold):
            os.close(gun)
            os.close(hold)
            os.read(go, 1)  # all at once: it ends when the parent closes the other end
            try:
                listener = listen(path)
            except DaemonError:
                os.write(tell, b"L")
                return 0
            os.write(tell, b"W" if works(listener) else b"?")
            os.read(end, 1)
            if not works(listener):  # nobody took the file away meanwhile
                return 4
            os.kill(os.getpid(), 9)
            return 3

        children = [Child(compete) for _ in range(6)]
        for fd in (go, gun, end):
            os.close(fd)
        results = b"".join(os.read(told, 1) for _ in children)
        os.close(hold)
        codes = sorted(child.wait() for child in children)
        os.close(told)
        os.close(tell)
        assert sorted(results) == sorted(b"WLLLLL")
        assert codes == [-9, 0, 0, 0, 0, 0]
        assert path.is_socket()


def test_who_finds_a_socket_left_behind_has_it_for_himself(path, monkeypatch):
    leave_behind(path)
    looked, go_on, done = threading.Event(), threading.Event(), threading.Event()
    real = unix._who_listens

    def look(name):
        found = real(name)
        if not looked.is_set():
            looked.set()
            assert go_on.wait(10)
        return found

    def second():
        try:
            return listen(path)
        finally:
            done.set()

    monkeypatch.setattr(unix, "_who_listens", look)
    first = Worker(listen, path)
    assert looked.wait(10)  # it will remove the file, once it goes on
    other = Worker(second)
    assert not done.wait(0.1)  # so this one must wait
    go_on.set()
    with closing(first.result()), pytest.raises(DaemonError, match="in use by another"):
        other.result()
    assert not path.exists()


def test_a_directory_that_is_locked_by_somebody_else(path, tmp_path, monkeypatch):
    monkeypatch.setattr(unix, "_LOCK_SECONDS", 0.1)
    leave_behind(path)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        listener = listen(path)  # after a while it goes without
        with closing(listener):
            assert works(listener)
    finally:
        os.close(fd)


def test_the_lock_is_given_back(path, tmp_path):
    before = resources()
    with closing(listen(path)):
        fd = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
    with pytest.raises(DaemonError):
        listen(tmp_path)
    assert not lasting_differences(before)
    assert not descriptors._numbers


# -------------------------------------------------------------------------- who removes it


def test_the_file_goes_with_the_listener(path):
    listener = listen(path)
    assert path.is_socket()
    listener.close()
    assert not path.exists()
    leave_behind(path)
    listener.close()
    assert path.is_socket()  # that is another one


def test_another_file_in_its_place_stays(path):
    listener = listen(path)
    path.unlink()
    other = listen(path)
    listener.close()
    with closing(other):
        assert works(other)


def test_a_file_that_is_gone_already(path):
    listener = listen(path)
    path.unlink()
    listener.close()
    assert listener.fileno() == -1


def test_a_relative_path_is_removed_from_another_directory_too(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    listener = listen("s.sock")
    assert listener.location.sockname == "s.sock"
    monkeypatch.chdir(tmp_path / "there")
    listener.close()
    assert not (tmp_path / "here" / "s.sock").exists()


def test_nothing_is_left_if_listening_fails(path, monkeypatch):
    before = resources()

    def fail(*args):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(unix.os, "chmod", fail)
    umask = os.umask(0o777)  # so that the mode has to be corrected
    try:
        with pytest.raises(DaemonError, match=r"s\.sock: input/output error"):
            listen(path)
    finally:
        os.umask(umask)
    assert not path.exists()
    assert not lasting_differences(before)


# ------------------------------------------------------------------------------------ paths


def long_path(tmp_path, size):
    return f"{tmp_path}/".ljust(size, "x")


@linux_only
@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_longest_path(tmp_path, letter):
    base = f"{tmp_path}/"
    room = 107 - len(base.encode())
    name = letter * (room // len(letter.encode()))
    listener = listen(base + name + "x" * (107 - len((base + name).encode())))
    with closing(listener):
        assert works(listener)


def test_paths_that_are_too_long(tmp_path):
    path = long_path(tmp_path, 108)
    with pytest.raises(DaemonError, match="has 108 bytes, and the kernel takes 10") as caught:
        listen(path)
    assert path in str(caught.value)
    with pytest.raises(ConnectError, match="has 108 bytes") as refused:
        unix.connect(at(path), Options())
    assert refused.value.call_status == "not sent"
    assert not os.path.exists(path)


def test_a_relative_path_makes_long_ones_possible(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    listener = listen("s.sock")
    with closing(listener):
        assert works(listener)
    assert not (deep / "s.sock").exists()


@linux_only
def test_abstract_names():
    name = f"\0pyroipc-test-{os.getpid()}"
    with pytest.raises(DaemonError, match="an abstract name has no permissions"):
        listen(name)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(name)
        other.listen()
        near = unix.connect(at(name), Options())
        with closing(near):
            assert identify_peer(near).trusted
    with pytest.raises(ConnectError, match="nobody listens there"):
        unix.connect(at(name), Options())


def test_directories(tmp_path, path):
    path.write_text("a file")
    for function, kind in ((unix.listen, DaemonError), (unix.connect, ConnectError)):
        for bad, text in (
            (tmp_path / "no" / "s.sock", "there is no"),
            (path / "s.sock", "is no directory"),
        ):
            with pytest.raises(kind, match=text) as caught:
                function(at(bad), Options())
            assert str(bad) in str(caught.value)


def test_connecting_to_what_is_no_socket(path):
    path.write_text("a file")
    with pytest.raises(ConnectError, match="or is no socket"):
        unix.connect(at(path), Options())


def test_buffers(path):
    listener = listen(path)
    with closing(listener):
        near = unix.connect(listener.location, Options(buffer_bytes=20_000))
        with closing(near), closing(wait_for_client(listener)):
            size = near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert 20_000 <= size <= 40_000


def test_the_time_out_of_connecting_is_taken_back(path):
    listener = listen(path)
    with closing(listener):
        near = unix.connect(listener.location, Options(), monotonic() + 10)
        with closing(near), closing(wait_for_client(listener)):
            assert not any(near.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
