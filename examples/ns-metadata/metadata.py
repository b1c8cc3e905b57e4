"""Printers that are found by what they are, and not by their names.

An entry of a name server may have tags. ``PYROMETA:tag,tag`` is any object that has all of them.
"""

import contextlib
import threading

import pyroipc


@pyroipc.expose
class Printer:
    def __init__(self, room):
        self._room = room

    def print(self, text):
        return f"{text!r} is printed in {self._room}"


class ColourPrinter(Printer):
    pass


@contextlib.contextmanager
def running(daemon):
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    try:
        yield daemon
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()


# In real life the name server is a program of its own: pyroipc ns
uri, ns_daemon, _ = pyroipc.start_ns("localhost", port=0)
pyroipc.config.NS_PORT = uri.port

with running(ns_daemon), running(pyroipc.Daemon("localhost")) as daemon, pyroipc.locate_ns() as ns:
    for name, printer, tags in (
        ("printer.hall", Printer("the hall"), {"floor:1", "a3"}),
        ("printer.attic", Printer("the attic"), {"floor:2"}),
        ("printer.studio", ColourPrinter("the studio"), {"floor:2", "a3", "colour"}),
    ):
        # type_meta: a tag for the class and each one that it is derived from.
        tags |= pyroipc.type_meta(printer)
        ns.register(name, daemon.register(printer), metadata=tags)

    print("a3, and on floor 2:", sorted(ns.yplookup(meta_all={"a3", "floor:2"})))
    print("a3, or on floor 2:", sorted(ns.yplookup(meta_any={"a3", "floor:2"})))
    print("of the class Printer:", len(ns.yplookup(meta_all={"class:__main__.Printer"})))
    print(
        "of the class ColourPrinter:", len(ns.yplookup(meta_all={"class:__main__.ColourPrinter"}))
    )

    # Each connection asks again. If there are several, any of them is taken.
    with pyroipc.Proxy("PYROMETA:colour,a3") as printer:
        print(printer.print("a poster"))

    ns.set_metadata("printer.studio", {"out of paper"})  # instead of all that it had
    try:
        with pyroipc.Proxy("PYROMETA:colour,a3") as printer:
            printer.print("another poster")
    except pyroipc.NamingError as error:
        print(error)

    _, tags = ns.lookup("printer.studio", return_metadata=True)
    print("the studio is", *tags)

# Output:
#   a3, and on floor 2: ['printer.studio']
#   a3, or on floor 2: ['printer.attic', 'printer.hall', 'printer.studio']
#   of the class Printer: 3
#   of the class ColourPrinter: 1
#   'a poster' is printed in the studio
#   no registrations available with desired metadata properties ['a3', 'colour']
#   the studio is out of paper
