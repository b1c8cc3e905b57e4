"""A method that returns a generator: the caller iterates over it from afar.

The items are sent while they are produced, some ahead of the reader. A reader that is slow slows
the writer, so nothing piles up, however long the stream is.
"""

import threading

import pyroipc


class Sensor:
    def __init__(self):
        self._measured = 0
        self._stopped = threading.Event()

    def measurements(self):
        try:
            while True:
                self._measured += 1
                yield self._measured
        finally:
            # Also runs if the reader closes the stream, drops it, or is gone.
            self._stopped.set()

    def measured(self):
        return self._measured

    def is_stopped(self):
        return self._stopped.wait(10)

    def lines(self, text):
        for number, line in enumerate(text.splitlines(), 1):
            if not line:
                raise ValueError(f"line {number} is empty")
            yield line


with pyroipc.spawn(Sensor) as handle:
    sensor = handle.proxy

    # It never ends, so it is to be closed; "with" does that.
    with sensor.measurements() as stream:
        for value in stream:
            print("measured", value)
            if value == 3:
                break
        print("not far ahead:", sensor.measured() < 100)
    print("stopped:", sensor.is_stopped())

    # Calls and other streams may come in between.
    first, second = sensor.lines("a\nb"), sensor.lines("c\nd")
    print(list(zip(first, second, strict=True)))

    # An exception comes after the items before it.
    try:
        for line in sensor.lines("one\ntwo\n\nfour"):
            print(line)
    except ValueError as error:
        print("failed:", error)

# Output:
#   measured 1
#   measured 2
#   measured 3
#   not far ahead: True
#   stopped: True
#   [('a', 'c'), ('b', 'd')]
#   one
#   two
#   failed: line 3 is empty
