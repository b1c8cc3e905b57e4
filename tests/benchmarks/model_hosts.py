"""What runs in the children of the object model's sections: an object, and loops by hand."""

from __future__ import annotations

POSITION_BYTES = 8


class Host:
    """The object that is called."""

    def __init__(self):
        self.hits = []
        self.note = None
        self.position = bytearray(POSITION_BYTES)

    def echo(self, value):
        return value

    def add(self, a, b):
        return a + b

    def hit(self, a, b):
        self.hits.append(None)  # Pyro runs each oneway call in a thread of its own

    def hits_so_far(self):
        return len(self.hits)

    def forget_hits(self):
        self.hits.clear()

    def numbers(self, count):
        for number in range(count):  # noqa: UP028 - a generator that does something
            yield number

    def watched_numbers(self, count):
        """Show how far the generator has come."""
        position = self.position
        for number in range(count):
            position[:POSITION_BYTES] = number.to_bytes(POSITION_BYTES, "little")
            yield number

    def keep(self, note):
        self.note = note

    def call_kept(self, value):
        return self.note.echo(value)

    def call_passed(self, note, value):
        return note.echo(value)


def make_host(package):
    """Return a host whose class is exposed as ``package`` (ours, Pyro4 or Pyro5) wants it."""

    members = {name: x for name, x in vars(Host).items() if callable(x)}
    members["hit"] = package.oneway(Host.hit)
    return package.expose(type("Host", (), members))()


def pipe_batch(connection):
    """Make all calls of a list, until the other end is closed."""
    host = Host()
    try:
        while True:
            calls = connection.recv()
            connection.send([getattr(host, name)(*args) for name, args in calls])
    except EOFError:
        pass


def pipe_count(connection):
    """Count what comes; send the count when None comes."""
    count = 0
    try:
        while True:
            if connection.recv() is None:
                connection.send(count)
                count = 0
            else:
                count += 1
    except EOFError:
        pass


def pipe_numbers(connection):
    """Send as many numbers as are asked for, and None."""
    try:
        while True:
            for number in range(connection.recv()):
                connection.send(number)
            connection.send(None)
    except EOFError:
        pass
