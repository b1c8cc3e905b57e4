"""Calls for which nobody waits.

A oneway call returns at once, and nothing comes back: no result and no exception. The calls run at
the other end in the order in which they were made, one after the other.
"""

import threading

import pyroipc


class Log:
    def __init__(self):
        self._lines = []
        self._written = threading.Condition()

    @pyroipc.expose
    @pyroipc.oneway
    def write(self, line):
        with self._written:
            self._lines.append(line)
            self._written.notify()
        return "nobody sees this"

    @pyroipc.expose
    def wait_for(self, count):
        """Return the lines as soon as there are so many."""
        with self._written:
            self._written.wait_for(lambda: len(self._lines) >= count, timeout=10)
            return self._lines

    @pyroipc.expose
    def clear(self):
        self._lines.clear()
        return "cleared"


with pyroipc.spawn(Log) as handle:
    log = handle.proxy

    for number in range(3):
        print("write returned", log.write(f"line {number}"))

    # This call does not wait for the ones before it: the object has to, if that matters.
    print(log.wait_for(3))

    # The caller may choose to wait for nothing, too.
    print(log.clear())
    log._pyroOneway.add("clear")
    print(log.clear())

# Output:
#   write returned None
#   write returned None
#   write returned None
#   ['line 0', 'line 1', 'line 2']
#   cleared
#   None
