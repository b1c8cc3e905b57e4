"""The dispatcher: it has the work, and hands it to whoever asks.

Workers come and go as they like, on any machine. What one had in hand when it was lost is given to
another one.
"""

import queue
import threading
import weakref

import pyroipc


@pyroipc.expose
class Dispatcher:
    def __init__(self):
        self._work = queue.Queue()
        self._results = queue.Queue()
        self._in_hand = {}  # client: what it was given
        self._gone = weakref.WeakSet()
        self._lock = threading.Lock()

    def put_work(self, item):
        self._work.put(item)

    def no_more_work(self):
        self._work.put(None)

    def get_work(self):
        """Wait for work; None: there will be no more."""
        client = pyroipc.current_context.client
        item = self._work.get()
        with self._lock:
            if item is None or client in self._gone:
                self._work.put(item)  # for the others
                return None
            self._in_hand[client] = item
            return item

    def put_result(self, item, result):
        with self._lock:
            self._in_hand.pop(pyroipc.current_context.client, None)
        self._results.put((item, result))

    def get_result(self):
        return self._results.get()

    def lose(self, client):
        with self._lock:
            self._gone.add(client)
            item = self._in_hand.pop(client, None)
        if item is not None:
            self._work.put(item)


class Office(pyroipc.Daemon):
    def clientDisconnect(self, conn):
        dispatcher.lose(conn)


if __name__ == "__main__":
    dispatcher = Dispatcher()
    with Office() as daemon:
        print(daemon.register(dispatcher, "dispatcher"), flush=True)
        daemon.requestLoop()
