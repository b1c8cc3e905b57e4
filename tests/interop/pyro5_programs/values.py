"""What becomes of values on their way, there and back, with each serializer of Pyro5."""

import collections
import datetime
import decimal
import enum
import threading
import uuid

import Pyro5.api

Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1


VALUES = [
    None, True, 5, -(2**80), 1.5, float("inf"), 2 + 3j, "text ü", b"bytes", bytearray(b"array"),
    [1, [2, (3,)]], (1, 2), {1, 2}, frozenset({1}), {"a": (1,)}, {1: "one"}, {(1, 2): "pair"},
    datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.date(2024, 1, 2), datetime.time(3, 4),
    datetime.timedelta(seconds=90), decimal.Decimal("1.50"), uuid.UUID(int=7), Point(1, 2),
    Colour.RED, range(3), Ellipsis, {1: 2}.keys(),
]  # fmt: skip


@Pyro5.api.expose
class Mirror:
    def name_of(self, value):
        return type(value).__name__

    def same(self, value):
        return value

    def number(self, place):
        return VALUES[place]


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        kinds = {base.__name__ for base in type(error).__mro__}
        return "an error" if "Exception" in kinds else "something else"


def main():
    with Pyro5.api.Daemon() as daemon:
        uri = daemon.register(Mirror)
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        for serializer in ("serpent", "json", "msgpack"):
            with Pyro5.api.Proxy(uri) as mirror:
                mirror._pyroSerializer = serializer
                for place, value in enumerate(VALUES):
                    name = type(value).__name__
                    print(serializer, name, "there", attempt(mirror.name_of, value))
                    print(serializer, name, "and back", attempt(mirror.same, value))
                    print(serializer, name, "back", attempt(mirror.number, place))
        daemon.shutdown()
        loop.join()


if __name__ == "__main__":
    main()
