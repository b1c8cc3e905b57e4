"""What runs in the children. Imports nothing: a fresh interpreter pays for every line."""

from __future__ import annotations


class Echo:
    """The object that is called."""

    def echo(self, value):
        return value


def pipe_echo(connection):
    """What people write by hand: send back whatever comes, until the other end is closed."""
    try:
        while True:
            connection.send(connection.recv())
    except EOFError:
        pass
