"""Both ends in one program, over a pair of sockets, as users of Pyro5 write it."""

import socket
import threading

import Pyro5.api
from Pyro5.api import BatchProxy, Proxy, SerializedBlob, expose


@expose
class Shop:
    def same(self, value):
        return value

    def count(self, number):
        yield from range(number)

    def divide(self, a, b):
        return a / b

    def weigh(self, blob):
        return [blob.info, len(blob.deserialized())]


def serve(sock):
    with Pyro5.api.Daemon(connected_socket=sock) as daemon:
        daemon.register(Shop, "shop")
        daemon.requestLoop()


def main():
    here, there = socket.socketpair()
    thread = threading.Thread(target=serve, args=(there,))
    thread.start()
    with Proxy("shop", connected_socket=here) as shop:
        assert shop.same([1, "ü"]) == [1, "ü"]
        assert list(shop.count(3)) == [0, 1, 2]
        assert shop.weigh(SerializedBlob("letter", "abc")) == ["letter", 3]
        try:
            shop.divide(1, 0)
        except ZeroDivisionError:
            pass
        batch = BatchProxy(shop)
        batch.same(1)
        batch.same(2)
        assert list(batch()) == [1, 2]
    here.close()
    thread.join(10)
    assert not thread.is_alive()
    there.close()
    print("pair", flush=True)


if __name__ == "__main__":
    main()
