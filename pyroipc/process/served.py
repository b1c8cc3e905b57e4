"""The fork server: one thread, forks children on request and tells how they ended.

It ends when the control socket does, or with the process that started it.
"""

from __future__ import annotations

import _socket as socket  # as elsewhere: see bootstrap
import array
import os
import select

from pyroipc.process import bootstrap, child, lifeline
from pyroipc.process.forkserver import PID, SIZE, STATUS
from pyroipc.transports import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_ENDS = 3


class _Children:
    """The children that run: pidfd to process id and the pipe for its status."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.by_pidfd: dict[int, tuple[int, int]] = {}

    def add(self, pid: int, status: int) -> None:
        pidfd = descriptors.own_number(os.pidfd_open(pid))
        descriptors.own_number(status)
        self.by_pidfd[pidfd] = pid, status
        self.poll.register(pidfd, select.POLLIN)

    def ended(self, pidfd: int) -> None:
        """Tell how a child ended, and only then reap it: until then its id is its own."""
        pid, status = self.by_pidfd.pop(pidfd)
        self.poll.unregister(pidfd)
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        exited = result.si_code == os.CLD_EXITED
        try:
            os.write(status, STATUS.pack(result.si_status if exited else -result.si_status))
        except BrokenPipeError:
            pass  # nobody wants to know
        os.waitpid(pid, 0)
        descriptors.close_number(pidfd)
        descriptors.close_number(status)


def start(control: int, life: int) -> NoReturn:
    """Be the fork server.

    Args:
        control: the number of the socket on which requests come.
        life: that of our end of the lifeline.
    """
    bootstrap.keep_only(control, life)
    lifeline.arm(bootstrap.adopt(life), 0)
    child.take_signals()
    sock = bootstrap.adopt(control)
    descriptors.own(sock)
    children = _Children()
    children.poll.register(sock, select.POLLIN)
    while True:
        for fd, _ in children.poll.poll():
            if fd in children.by_pidfd:
                children.ended(fd)
            elif not _serve_request(sock, children):
                os._exit(0)


def _serve_request(sock: socket.socket, children: _Children) -> bool:
    """Fork a child as asked; False if the socket has ended."""
    ends = array.array("i")
    head, ancillary, _, _ = sock.recvmsg(SIZE.size, socket.CMSG_SPACE(_ENDS * ends.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            ends.frombytes(data[: len(data) - len(data) % ends.itemsize])
    if len(head) < SIZE.size or len(ends) < _ENDS:
        return False
    size = SIZE.unpack(head)[0]
    request = sock.recv(size, socket.MSG_WAITALL)
    if len(request) < size:
        return False
    far, life, status = ends
    try:
        pid = os.fork()
    except OSError as error:
        os.close(status)
        answer = -(error.errno or 1)
    else:
        if not pid:
            os.close(status)
            _be_a_child(far, life, request)
        children.add(pid, status)
        answer = pid
    os.close(far)
    os.close(life)
    sock.sendall(PID.pack(answer))
    return True


def _be_a_child(far: int, life: int, request: bytes) -> NoReturn:
    """Take up the circumstances that the request describes, and be a child."""
    import json
    import sys

    wanted: dict[str, Any] = json.loads(request)
    sys.path[:] = wanted["path"]
    sys.argv[:] = wanted["argv"]
    if wanted["environment"] != dict(os.environ):
        os.environ.clear()
        os.environ.update(wanted["environment"])
    if wanted["directory"] is not None:
        try:
            os.chdir(wanted["directory"])
        except OSError:
            pass  # it was removed: stay where the server is
    settings = bootstrap.read_settings(wanted["settings"])
    child.forget_exit_functions()
    child.run(lambda: child.Service(bootstrap.adopt(far), settings, None), bootstrap.adopt(life))
