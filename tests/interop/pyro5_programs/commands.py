"""What the tools of Pyro print: name server, ``nsc``, ``check-config`` and echo server."""

import io
import sys
import threading

import Pyro5.api
import Pyro5.configure
from Pyro5 import nameserver, nsc
from Pyro5.utils import echoserver

COMMANDS = [
    "ping",
    "-v ping",
    "list",
    "register shop PYRO:shop@localhost:1",
    "register shop PYRO:shop@localhost:1",
    "register shop nonsense",
    "list",
    "list sh",
    "list x y",
    "setmeta shop town",
    "lookup shop",
    "listmatching .*op",
    "listmatching [",
    "yplookup_all town",
    "yplookup_any town harbour",
    "yplookup_any harbour",
    "setmeta shop",
    "setmeta unknown town",
    "lookup shop",
    "lookup unknown",
    "remove shop",
    "remove shop",
    "removematching q.*",
    "lookup",
    "lookup a b",
    "register a",
    "listmatching",
    "yplookup_all",
    "yplookup_any",
    "setmeta",
    "remove",
    "removematching",
    "nonsense",
    "",
]


def run(main, arguments):
    print("$", *arguments)
    try:
        failed = main(arguments)
    except SystemExit as ended:
        print("exit", ended.code)
    except Exception as error:
        print("failed", type(error).__name__ if isinstance(error, ImportError) else "")
    else:
        if failed:
            print("failed ")


def loops(directory):
    for options in (
        {"port": 0},
        {"port": 0, "host": "127.0.0.1", "enableBroadcast": False},
        {"port": 0, "host": "::1"},
        {"unixsocket": f"{directory}/names"},
        {"port": 0, "nathost": "outside", "natport": 5},
        {"port": 0, "storage": f"sql:{directory}/names.sqlite"},
    ):
        print("$", sorted(options))
        nameserver.start_ns_loop(loopCondition=lambda: False, **options)


def main():
    sys.stderr = io.StringIO()  # what argparse says there has the name of the program in it
    loops(sys.argv[1])
    uri, daemon, responder = nameserver.start_ns(port=0)
    print(responder)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    Pyro5.api.config.NS_PORT = uri.port
    try:
        for line in COMMANDS:
            sys.stdin = io.StringIO("y\n")
            run(nsc.main, line.split())
        ours, echo, uri = echoserver.main(["-n", "-v"], returnWithoutLooping=True)
        print(type(echo).__name__, uri.object, echo.verbose, echo.echo("x"))
        ours.close()
        run(nsc.main, ["lookup", "test.echoserver"])
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()
    Pyro5.configure.dump()


if __name__ == "__main__":
    main()
