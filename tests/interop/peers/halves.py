"""A program that forks into a client and a server, which talk over a pair of sockets.

``halves.py FAMILY HALF``: that half, ``client`` or ``server``, uses that library. The other one
uses pyroipc, and finds out, or is told, which one that is.
"""

from __future__ import annotations

import os
import socket
import sys

from tests.interop.peers.library import OURS, Library
from tests.interop.peers.things import make_objects


def serve(lib, sock):
    daemon = lib.Daemon(connected_socket=sock)
    for name, thing in make_objects(lib).items():
        daemon.register(thing, name)
    daemon.requestLoop()


def call(lib, sock, family):
    told = {"dialect": family.lower()} if lib.name == OURS else {}
    basics = lib.Proxy("basics", connected_socket=sock, **told)
    streams = lib.Proxy("streams", connected_socket=sock, **told)
    try:
        basics.fail("ValueError")
    except ValueError as error:
        failed = [type(error).__name__, list(error.args)]
    return [basics.add(1), list(streams.count(3)), *failed]


def main():
    family, half = sys.argv[1:]
    client_family, server_family = (family, OURS) if half == "client" else (OURS, family)
    near, far = socket.socketpair()
    child = os.fork()
    if not child:
        near.close()
        serve(Library(server_family), far)
        os._exit(0)
    far.close()
    print(call(Library(client_family), near, family))
    near.close()
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
