"""Objects to host in children."""

from __future__ import annotations

import os
import signal
import threading
import time

import pyroipc


class Counter:
    """Counts, and does what children should be able to do or to survive."""

    def __init__(self, total=0, *, step=0):
        self._total = total
        self._step = step
        self._began = threading.Event()

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value

    def add(self, number: int = 0) -> int:
        """Add a number to the total and return it."""
        self._total += number + self._step
        return self._total

    def append(self, value):
        self._total.append(value)

    def echo(self, value):
        return value

    def divide(self, by):
        return self._total / by

    def where(self):
        return os.getpid()

    def parent(self):
        return os.getppid()

    def serializer(self):
        from pyroipc.serializers import table

        return table.name_of(pyroipc.current_context.serializer_id)

    def slowly(self, seconds):
        self._began.set()
        time.sleep(seconds)
        return "done"

    def wait_for_begin(self, seconds):
        return self._began.wait(seconds)

    @pyroipc.oneway
    def note(self, path, number):
        time.sleep(0.005)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{number}\n")

    def ignore_sigterm(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def end(self, how, value):
        """End this process in a bad way."""
        if how == "exit":
            os._exit(value)
        elif how == "signal":
            os.kill(os.getpid(), value)
        elif how == "segfault":
            import ctypes
            import faulthandler

            faulthandler.disable()  # pytest's, in a fork
            ctypes.string_at(0)

    def descriptors(self):
        """Name what this process holds: number and target."""
        found = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
            except OSError:  # that of the listing
                pass
        return found

    def total_of_a_child(self, total):
        with pyroipc.spawn(Counter, total, start="fork") as child:
            return child.total

    def circumstances(self, variable):
        return os.getcwd(), os.environ.get(variable)


# oneway marks a member, and marks narrow what is public; here everything is.
Counter = pyroipc.expose(Counter)


class Marked:
    """A class that says what is exposed, with names that a handle has, too."""

    @pyroipc.expose
    def pid(self):
        return "the object's pid"

    @pyroipc.expose
    def close(self):
        return "the object's close"

    def hidden(self):
        return "not to be seen"

    def _private(self):
        return "not to be seen"


def make_counter(total):
    return Counter(total)


def broken_factory(error):
    raise error
