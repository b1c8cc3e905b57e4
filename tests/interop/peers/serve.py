"""A program that serves ``make_objects`` with one of the three libraries, until its input ends.

It is told in JSON what to do, and prints in JSON where its daemons are::

    {"library": "Pyro5", "settings": {"ITER_STREAMING": false},
     "daemons": {"tcp": {"host": "localhost"}, "guarded": {"guarded": true}}}

Options of a daemon: those of the class, and ``guarded``, ``key``, ``fd`` (a connected socket).
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading

from tests.interop.peers.library import OURS, PYRO4, Library
from tests.interop.peers.things import guarded, make_objects


def make_daemon(lib, options):
    factory = guarded(lib) if options.pop("guarded", False) else lib.Daemon
    key = options.pop("key", None)
    fd = options.pop("fd", None)
    if fd is not None:
        options["connected_socket"] = socket.socket(fileno=fd)
    if key and lib.name == OURS:
        options["hmac_key"] = key
    daemon = factory(**options)
    if key and lib.name == PYRO4:
        daemon._pyroHmacKey = key
    for name, thing in make_objects(lib).items():
        daemon.register(thing, name)
    return daemon


def main():
    told = json.loads(sys.argv[1])
    lib = Library(told["library"])
    for name, value in told.get("settings", {}).items():
        if lib.name == PYRO4 and isinstance(value, list):
            value = set(value)
        setattr(lib.config, name, value)
    places, inner, threads = {}, {}, []
    for name, options in told["daemons"].items():
        daemon = make_daemon(lib, options)
        places[name] = str(daemon.uriFor("thing").location)
        inner[name] = daemon.uriFor("thing", nat=False).port
        threads.append(threading.Thread(target=daemon.requestLoop, daemon=True))
        threads[-1].start()
    print(json.dumps([places, inner]), flush=True)
    if told.get("until_end"):
        threads[0].join()
    else:
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
