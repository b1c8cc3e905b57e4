"""Files fetched and sent: whole or not at all, resumed, checked, and from one directory only."""

from __future__ import annotations

import errno
import os
import socket
import threading
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyroipc
from pyroipc import (
    DigestMismatchError,
    DiskFullError,
    FileChangedError,
    FileServer,
    Proxy,
    SecurityError,
    TransferError,
    fetch_file,
    send_file,
)
from pyroipc.transfer import copying, fetching, partial, sending
from tests.support.daemons import settings as settings_with
from tests.support.hosts import PAIRS, PATIENCE, Worker, forked, hosted
from tests.support.searching import examples

MIB = 1 << 20


@pytest.fixture
def served(tmp_path):
    directory = tmp_path / "served"
    directory.mkdir()
    return directory


@pytest.fixture(params=["unix", "tcp"])
def far(request, served):
    thing = FileServer(served, writable=True)
    with (
        forked({"files": thing}, pair=PAIRS[request.param]) as (near, _),
        Proxy("files", connected_socket=near) as made,
    ):
        made.__dict__["kind"] = request.param
        yield made


def content(n_bytes):
    return os.urandom(min(n_bytes, MIB)) * (n_bytes // MIB + 1)


def left(directory):
    return sorted(name for name in os.listdir(directory) if name.startswith("."))


# ----------------------------------------------------------------------------------------- whole


@pytest.mark.parametrize("n_bytes", [0, 1, MIB - 1, MIB, 5 * MIB + 7])
def test_there_and_back(far, served, tmp_path, n_bytes):
    data = content(n_bytes)[:n_bytes]
    (served / "a").write_bytes(data)
    seen = []
    assert fetch_file(far, "a", tmp_path / "b", progress=lambda *at: seen.append(at)) == n_bytes
    assert (tmp_path / "b").read_bytes() == data
    assert seen[0] == (0, n_bytes)
    assert seen[-1] == (n_bytes, n_bytes)
    assert seen == sorted(seen)
    seen.clear()
    send_file(far, tmp_path / "b", "c", progress=lambda *at: seen.append(at))
    assert (served / "c").read_bytes() == data
    assert seen[0] == (0, n_bytes)
    assert seen[-1] == (n_bytes, n_bytes)
    assert not left(served)
    assert not left(tmp_path)


def test_what_was_there_is_replaced(far, served, tmp_path):
    (served / "a").write_bytes(b"new")
    target = tmp_path / "b"
    target.write_bytes(b"old and longer")
    with open(target, "rb") as before:
        fetch_file(far, "a", target)
        assert before.read() == b"old and longer"
    assert target.read_bytes() == b"new"


def test_directories(far, served, tmp_path):
    (served / "in" / "side").mkdir(parents=True)
    (tmp_path / "b").write_bytes(b"data")
    send_file(far, tmp_path / "b", "in/side/c")
    assert (served / "in/side/c").read_bytes() == b"data"
    with pytest.raises(FileNotFoundError):
        send_file(far, tmp_path / "b", "no/where")
    with pytest.raises(FileNotFoundError):
        fetch_file(far, "in/no", tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        fetch_file(far, "in/side/c", tmp_path / "no" / "x")


# --------------------------------------------------------------------------------------- resumed


class Enough(Exception):
    """The user has had enough."""


def stop_after(n_bytes):
    def progress(done, total):
        if done >= n_bytes:
            raise Enough

    return progress


@pytest.fixture
def small_pieces(monkeypatch):
    for module, name in (
        (fetching, "PIECE_BYTES"),
        (sending, "PIECE_BYTES"),
        (copying, "_PIECE_BYTES"),
    ):
        monkeypatch.setattr(module, name, 10_000)


def test_fetching_goes_on_where_it_stopped(small_pieces, far, served, tmp_path):
    data = content(100_000)
    (served / "a").write_bytes(data)
    with pytest.raises(Enough):
        fetch_file(far, "a", tmp_path / "b", progress=stop_after(30_000))
    assert not (tmp_path / "b").exists()
    assert len(left(tmp_path)) == 1
    seen = []
    fetch_file(far, "a", tmp_path / "b", progress=lambda *at: seen.append(at))
    assert seen[0][0] >= 30_000
    assert (tmp_path / "b").read_bytes() == data
    assert not left(tmp_path)


def test_sending_goes_on_where_it_stopped(small_pieces, far, served, tmp_path):
    data = content(400_000)
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(Enough):
        send_file(far, tmp_path / "b", "a", progress=stop_after(20_000))
    assert not (served / "a").exists() or far.kind == "unix"
    seen = []
    send_file(far, tmp_path / "b", "a", progress=lambda *at: seen.append(at))
    assert (served / "a").read_bytes() == data
    if far.kind == "tcp":
        assert seen[0][0] >= 20_000
    assert not left(served)


def test_sending_that_is_broken_off_changes_nothing(far, served, tmp_path):
    (served / "c").write_bytes(b"old")
    (tmp_path / "b").write_bytes(content(100_000))
    with pytest.raises(Enough):
        send_file(far, tmp_path / "b", "c", progress=stop_after(1))
    far._pyroBind()
    assert (served / "c").read_bytes() == b"old"


def test_another_version_begins_anew(small_pieces, far, served, tmp_path):
    (served / "a").write_bytes(content(100_000))
    with pytest.raises(Enough):
        fetch_file(far, "a", tmp_path / "b", progress=stop_after(30_000))
    data = content(90_000)
    (served / "a").write_bytes(data)
    fetch_file(far, "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == data


def test_a_file_that_changes_meanwhile(small_pieces, far, served, tmp_path):
    (served / "a").write_bytes(content(300_000))

    def change(done, total):
        with open(served / "a", "ab") as file:
            file.write(b"more")

    with pytest.raises(FileChangedError, match="'a' was changed"):
        fetch_file(far, "a", tmp_path / "b", progress=change)
    assert not (tmp_path / "b").exists()
    assert not left(tmp_path)
    data = content(3_000_000)
    (tmp_path / "c").write_bytes(data)

    def change_here(done, total):
        with open(tmp_path / "c", "ab") as file:
            file.write(b"more")

    with pytest.raises(FileChangedError, match="was changed"):
        send_file(far, tmp_path / "c", "d", progress=change_here)
    assert not (served / "d").exists()
    assert not left(served)


# --------------------------------------------------------------------------------------- checked


def test_a_part_that_was_damaged_is_noticed(small_pieces, served, tmp_path):
    (served / "a").write_bytes(content(100_000))
    with (
        hosted({"files": FileServer(served, writable=True)}, pair=PAIRS["tcp"]) as (near, _),
        Proxy("files", connected_socket=near) as far,
    ):
        with pytest.raises(Enough):
            fetch_file(far, "a", tmp_path / "b", progress=stop_after(30_000))
        (name,) = left(tmp_path)
        with open(tmp_path / name, "r+b") as file:
            file.write(b"damaged")
        with pytest.raises(DigestMismatchError):
            fetch_file(far, "a", tmp_path / "b")
        fetch_file(far, "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == (served / "a").read_bytes()
        with pytest.raises(Enough):
            send_file(far, tmp_path / "b", "c", progress=stop_after(30_000))
        (name,) = left(served)
        with open(served / name, "r+b") as file:
            file.write(b"damaged")
        with pytest.raises(DigestMismatchError):
            send_file(far, tmp_path / "b", "c")
        send_file(far, tmp_path / "b", "c")
        assert (served / "c").read_bytes() == (served / "a").read_bytes()


def test_a_full_disk(served, tmp_path, monkeypatch):
    (served / "a").write_bytes(content(100_000))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        hosted({"files": FileServer(served, writable=True)}, pair=PAIRS["tcp"]) as (near, _),
        Proxy("files", connected_socket=near) as far,
    ):
        monkeypatch.setattr(partial.os, "pwrite", full)
        with pytest.raises(DiskFullError, match="no room for 'b'"):
            fetch_file(far, "a", tmp_path / "b")
        with pytest.raises(DiskFullError, match="no room for 'c'"):
            send_file(far, served / "a", "c")
        monkeypatch.undo()
        fetch_file(far, "a", tmp_path / "b")
        send_file(far, tmp_path / "b", "c")
        assert (served / "c").read_bytes() == (served / "a").read_bytes()


def test_where_the_kernel_does_not_copy(served, tmp_path, monkeypatch):
    (served / "a").write_bytes(content(3 * MIB))

    def cannot(*args):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(copying.os, "copy_file_range", cannot, raising=False)
    with (
        hosted({"files": FileServer(served)}) as (near, _),
        Proxy("files", connected_socket=near) as far,
    ):
        fetch_file(far, "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == (served / "a").read_bytes()


def test_two_at_once(small_pieces, far, served, tmp_path, monkeypatch):
    (served / "a").write_bytes(content(100_000))
    monkeypatch.setattr(partial, "_PATIENCE_SECONDS", 0.01)

    def again(done, total):
        if 0 < done < total:
            with pytest.raises(TransferError, match="somebody else"):
                fetch_file(far, "a", tmp_path / "b")

    fetch_file(far, "a", tmp_path / "b", progress=again)


def test_one_that_waited_for_another(far, served, tmp_path, monkeypatch):
    data = content(100_000)[:100_000]
    (served / "a").write_bytes(data)
    waits = threading.Event()

    class Pause:
        def wait(self, timeout):
            waits.set()
            threading.Event().wait(timeout)

    monkeypatch.setattr(partial, "Event", Pause)
    second = []

    def meanwhile(done, total):
        if done == total:
            second.append(Worker(fetch_file, copy(far), "a", tmp_path / "b"))
            assert waits.wait(PATIENCE)

    fetch_file(far, "a", tmp_path / "b", progress=meanwhile)
    assert second[0].result() == len(data)
    assert (tmp_path / "b").read_bytes() == data
    assert not left(tmp_path)


def test_a_directory_in_the_place(far, served, tmp_path):
    (served / "a").write_bytes(b"a")
    (served / "d").mkdir()
    (tmp_path / "d").mkdir()
    with pytest.raises(IsADirectoryError, match="'d'"):
        fetch_file(far, "a", tmp_path / "d", progress=lambda *at: pytest.fail("it began"))
    with pytest.raises(IsADirectoryError, match="'d'"):
        send_file(far, served / "a", "d", progress=lambda *at: pytest.fail("it began"))
    assert not left(tmp_path)
    assert not left(served)


@pytest.mark.parametrize("limits", [(100_000, 1 << 30), (1 << 30, 100_000)])
@pytest.mark.parametrize("serializer", ["msgpack", "serpent"])
def test_small_messages(served, tmp_path, serializer, limits):
    near_limit, far_limit = limits
    data = content(5 * MIB)[: 5 * MIB]
    (served / "a").write_bytes(data)
    thing = FileServer(served, writable=True)
    options = {"pair": PAIRS["tcp"], "settings": settings_with(MAX_MESSAGE_SIZE=far_limit)}
    with (
        hosted({"files": thing}, **options) as (near, _),
        Proxy(
            "files", connected_socket=near, settings=settings_with(MAX_MESSAGE_SIZE=near_limit)
        ) as far,
    ):
        far._pyroSerializer = serializer
        fetch_file(far, "a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == data
        send_file(far, tmp_path / "b", "c")
        assert (served / "c").read_bytes() == data


@pytest.mark.parametrize("name", ["x" * 255, "漢" * 85, "ä" * 60 + "/" + "ä" * 127])
def test_long_names(far, served, tmp_path, name):
    (served / name).parent.mkdir(exist_ok=True)
    (served / name).write_bytes(b"long")
    last = name.rpartition("/")[2]
    fetch_file(far, name, tmp_path / last)
    send_file(far, tmp_path / last, name[:-1])
    assert (served / name[:-1]).read_bytes() == b"long"
    assert not left(served)


def test_names_that_begin_alike(small_pieces, far, served, tmp_path):
    (tmp_path / "a").write_bytes(content(100_000))
    first, second = "x" * 200 + "1", "x" * 200 + "2"
    with pytest.raises(Enough):
        send_file(far, tmp_path / "a", first, progress=stop_after(30_000))
    seen = []
    send_file(far, tmp_path / "a", second, progress=lambda *at: seen.append(at[0]))
    assert seen[0] == 0
    assert len(left(served)) == 1


# -------------------------------------------------------------------------------------- confined

BAD_NAMES = [
    "", ".", "..", "/etc/passwd", "../secret", "in/../../secret", "in//a", "in/", "in/./a",
    "a\0b", "..\\secret", "x.pyroipc-part",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_elsewhere(far, served, tmp_path, name):
    (served / "in").mkdir()
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(SecurityError, match="no name of a file"):
        fetch_file(far, name, tmp_path / "got")
    with pytest.raises(SecurityError, match="no name of a file"):
        send_file(far, tmp_path / "secret", name)
    assert (tmp_path / "secret").read_text() == "secret"


def test_links_and_what_is_no_file(far, served, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (served / "link").symlink_to(tmp_path / "secret")
    (served / "out").symlink_to(tmp_path)
    (served / "dir").mkdir()
    os.mkfifo(served / "fifo")
    for name in ("link", "out/secret", "dir", "fifo"):
        with pytest.raises(SecurityError):
            fetch_file(far, name, tmp_path / "got")
    with pytest.raises(SecurityError):
        send_file(far, tmp_path / "secret", "out/other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "b").write_text("new")
    send_file(far, tmp_path / "b", "link")  # takes the place of the link
    assert (tmp_path / "secret").read_text() == "secret"
    assert (served / "link").read_text() == "new"


def test_any_name_stays_below(served, tmp_path):
    from pyroipc.transfer.confined import parent_below

    (served / "a").mkdir()
    inodes = {os.stat(served).st_ino, os.stat(served / "a").st_ino}

    @examples(200)
    @given(st.lists(st.sampled_from(["a", "b", "..", ".", "/", "", "\\", "\0"]), max_size=6))
    def run(parts):
        try:
            with parent_below(str(served), "/".join(parts)) as (fd, last):
                assert os.fstat(fd).st_ino in inodes
                assert last in {"a", "b"}
        except (SecurityError, FileNotFoundError):
            pass

    run()


def test_what_is_not_allowed(served, tmp_path):
    (tmp_path / "b").write_bytes(b"12345")
    with (
        hosted({
            "read-only": FileServer(served),
            "small": FileServer(served, writable=True, max_bytes=4),
        }) as (near, _),
        Proxy("read-only", connected_socket=near) as closed,
        Proxy("small", connected_socket=near) as small,
    ):
        with pytest.raises(SecurityError, match="writable=True"):
            send_file(closed, tmp_path / "b", "c")
        with pytest.raises(TransferError, match="at most 4"):
            send_file(small, tmp_path / "b", "c")
        with pytest.raises(SecurityError, match="no version"):
            small.begin("c", "../../x", 3)
        with pytest.raises(TransferError, match="piece of 'c' is missing"):
            small.write("c", "abc", 2, b"x")
        with pytest.raises(TransferError, match="at most 4"):
            small.write("c", "abc", 3, b"xyz")
    assert [name for name in os.listdir(served) if not name.startswith(".")] == []
    with pytest.raises(NotADirectoryError):
        FileServer(tmp_path / "b")


def test_modes_of_new_files(far, served, tmp_path):
    (served / "a").write_bytes(b"x")
    mask = os.umask(0o027)
    try:
        fetch_file(far, "a", tmp_path / "b")
    finally:
        os.umask(mask)
    assert os.stat(tmp_path / "b").st_mode & 0o777 == 0o640


def test_a_server_that_is_killed_in_the_middle(small_pieces, served, tmp_path):
    (served / "a").write_bytes(content(2_000_000))
    near, other = PAIRS["tcp"]()
    with (
        near,
        other,
        forked({"files": FileServer(served)}, pair=lambda: (near, other)) as (_, child),
        Proxy("files", connected_socket=near) as far,
    ):

        def kill(done, total):
            if done and child.status is None:
                child.kill()
                child.wait()

        with pytest.raises(pyroipc.ConnectionClosedError):
            fetch_file(far, "a", tmp_path / "b", progress=kill)
    assert not (tmp_path / "b").exists()
    with forked({"files": FileServer(served)}) as (sock, _):
        assert isinstance(sock, socket.socket)
        with Proxy("files", connected_socket=sock) as far:
            fetch_file(far, "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (served / "a").read_bytes()
