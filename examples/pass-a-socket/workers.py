"""A server that accepts clients and hands each of them, as an open socket, to a worker.

The worker talks to its client directly; the server has nothing to do with that any more.
"""

import itertools
import os
import socket
import threading

import pyroipc


class Worker:
    def serve(self, client):
        """Answer one client until it has nothing more to say."""
        with client, client.makefile("rw") as lines:
            for line in lines:
                lines.write(line.upper())
                lines.flush()

    def where(self):
        return os.getpid()


def serve(listener, workers):
    for worker in itertools.cycle(workers):
        try:
            client, _ = listener.accept()
        except OSError:  # it was closed
            return
        with client:  # the worker gets a descriptor of its own
            worker.serve.submit(client)


def ask(address, text):
    with socket.create_connection(address) as sock, sock.makefile("rw") as lines:
        lines.write(text + "\n")
        lines.flush()
        sock.shutdown(socket.SHUT_WR)
        return lines.readline().strip()


with pyroipc.spawn(Worker) as one, pyroipc.spawn(Worker) as two:
    print("two workers:", len({one.where(), two.where(), os.getpid()}) == 3)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listener, [one, two]))
    thread.start()
    for text in ("hello", "is there", "anybody?"):
        print(text, "->", ask(listener.getsockname(), text))
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()

# Output:
#   two workers: True
#   hello -> HELLO
#   is there -> IS THERE
#   anybody? -> ANYBODY?
