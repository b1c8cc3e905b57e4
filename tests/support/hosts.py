"""Daemons to call: in a thread of this process, or in a forked child, over a socket pair."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from pyroipc.server.daemon import Daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 10.0
"""Seconds after which a test gives up waiting for something that takes a moment."""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection within this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        near.settimeout(None)
        far, _ = listener.accept()
    return near, far


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a unix socket pair."""
    return socket.socketpair()


HANDLERS_RUN = sys.version_info[:2] != (3, 13)
"""CPython 3.13 (python/cpython#130279) at times forgets the handlers of a frame in which a signal
handler raises, in plain Python too; what must hold after Ctrl-C cannot be tested there."""

PAIRS = {"unix": unix_pair, "tcp": tcp_pair}


class Worker:
    """A thread whose outcome is looked at: it must end in time, and its error is raised."""

    def __init__(self, function: Callable[..., Any], *args: Any, name: str | None = None) -> None:
        self._function, self._args = function, args
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=name or getattr(function, "__name__", "worker"), daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._function(*self._args)
        except BaseException as error:
            self.error = error

    def finish(self, timeout: float = PATIENCE) -> BaseException | None:
        """Wait for the end; return what was raised."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            frame = sys._current_frames().get(self._thread.ident or 0)
            stack = "".join(traceback.format_stack(frame)) if frame else ""
            raise AssertionError(f"{self._thread.name} still runs after {timeout} s:\n{stack}")
        error, self.error = self.error, None
        return error

    def result(self, timeout: float = PATIENCE) -> Any:
        """Wait for the end; return what was returned, or raise what was raised."""
        error = self.finish(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self.value

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()


def together(*functions: Callable[[], Any], timeout: float = PATIENCE) -> list[Any]:
    """Run functions at the same time, each in a thread; return what they returned."""
    workers = [Worker(function) for function in functions]
    return [worker.result(timeout) for worker in workers]


class ThreadHost:
    """A daemon that serves a socket in a thread of this process."""

    def __init__(self, sock: socket.socket, objects: dict[str, Any], **options: Any) -> None:
        self.condition = options.pop("condition", None)
        self.daemon = Daemon(connected_socket=sock, **options)
        for name, thing in objects.items():
            self.daemon.register(thing, name)
        self.loop = Worker(self.daemon.requestLoop, self.condition, name="requestLoop")

    def stop(self) -> None:
        """End the loop in the orderly way; raise what it raised."""
        self.daemon.close()
        self.loop.result()


@contextlib.contextmanager
def hosted(
    objects: dict[str, Any], *, pair: Callable[[], Any] = unix_pair, **options: Any
) -> Iterator[tuple[socket.socket, ThreadHost]]:
    """Serve objects in a thread; yield the caller's end of the pair and the host."""
    near, far = pair()
    with near, far:
        host = ThreadHost(far, objects, **options)
        try:
            yield near, host
        finally:
            host.stop()


class Child:
    """A forked child that runs one function and then is gone, whatever happens."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        self.status: int | None = None
        if not self.pid:
            code = 70
            try:
                for number in (signal.SIGALRM, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                result = function(*args)
                code = result if isinstance(result, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Reap it; return its exit code, or minus the signal. Fail if it does not end in time."""
        if self.status is None:
            late = False
            with contextlib.ExitStack() as stack:
                fd = os.pidfd_open(self.pid)
                stack.callback(os.close, fd)
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                if not poll.poll(timeout * 1000):
                    late = True
                    self.kill()
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            assert not late, f"child {self.pid} still ran after {timeout} s"
        return self.status


def serve(sock: socket.socket, objects: dict[str, Any], **options: Any) -> None:
    """Serve objects until the peer is gone."""
    daemon = Daemon(connected_socket=sock, **options)
    for name, thing in objects.items():
        daemon.register(thing, name)
    daemon.requestLoop()


@contextlib.contextmanager
def forked(
    objects: dict[str, Any], *, pair: Callable[[], Any] = unix_pair, **options: Any
) -> Iterator[tuple[socket.socket, Child]]:
    """Serve objects in a forked child; yield the caller's end of the pair and the child."""
    near, far = pair()

    def body() -> None:
        near.close()
        serve(far, objects, **options)

    with near:
        child = Child(body)
        far.close()
        try:
            yield near, child
        except BaseException:
            child.kill()
            child.wait()
            raise
        if child.status is None:
            near.close()
            assert child.wait() in (0, -signal.SIGKILL)


HOSTS = {"thread": hosted, "fork": forked}
