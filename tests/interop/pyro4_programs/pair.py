"""Both ends in one program, over a pair of sockets, with pickle, as users of Pyro4 write it."""

import datetime
import socket
import threading

import Pyro4

Pyro4.config.SERIALIZER = "pickle"
Pyro4.config.SERIALIZERS_ACCEPTED = {"pickle"}


class Point:
    def __init__(self, x):
        self.x = x


@Pyro4.expose
class Desk:
    def same(self, value):
        return value

    def is_point(self, value):
        return isinstance(value, Point) and value.x == 7

    def count(self, number):
        yield from range(number)

    def divide(self, a, b):
        return a / b


def serve(sock, ready):
    daemon = Pyro4.Daemon(connected_socket=sock)
    daemon.register(Desk, "desk")
    ready.set()
    daemon.requestLoop()
    daemon.close()


def main():
    here, there = socket.socketpair()
    ready = threading.Event()
    thread = threading.Thread(target=serve, args=(there, ready))
    thread.start()
    ready.wait(10)
    desk = Pyro4.Proxy("desk", connected_socket=here)
    day = datetime.date(2020, 2, 29)
    assert desk.same([(1, 2), {3}, day, b"bytes"]) == [(1, 2), {3}, day, b"bytes"]
    assert desk.is_point(Point(7))
    assert list(desk.count(3)) == [0, 1, 2]
    try:
        desk.divide(1, 0)
    except ZeroDivisionError:
        pass
    batch = Pyro4.batch(desk)
    batch.same(1)
    batch.same((2,))
    assert list(batch()) == [1, (2,)]
    desk._pyroRelease()
    here.close()
    thread.join(10)
    assert not thread.is_alive()
    there.close()
    print("pair", flush=True)


if __name__ == "__main__":
    main()
