"""An object of a class that nobody may edit: an interface says what may be called."""

import socket
import threading
from collections import Counter
from typing import Any, Protocol

import pyroipc


class Votes(Protocol):
    """What callers may do with the counter; it has many more methods."""

    def update(self, votes: list[str]) -> None: ...
    def most_common(self, n: int) -> list[Any]: ...
    def total(self) -> int: ...
    def __len__(self) -> int: ...


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
counter = Counter()
daemon.register(counter, "votes", interface=Votes)
host = threading.Thread(target=daemon.requestLoop)
host.start()

votes = pyroipc.Proxy("votes", connected_socket=near)
votes.update(["red", "blue", "red"])
print(votes.most_common(1), "of", votes.total(), "votes for", len(votes), "colours")

try:
    votes.clear()
except AttributeError as error:
    print("refused:", str(error).rpartition("; ")[2])
print("still there:", dict(counter))


# An interface that the object does not meet is refused when it is registered.
class Wrong(Protocol):
    def most_comon(self, n: int) -> list[Any]: ...


try:
    daemon.register(Counter(), "more votes", interface=Wrong)
except TypeError as error:
    print("refused:", error)

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   [('red', 2)] of 3 votes for 2 colours
#   refused: exposed: __len__, most_common, total, update
#   still there: {'red': 2, 'blue': 1}
#   refused: 'Counter' does not have what the interface 'Wrong' names: most_comon
