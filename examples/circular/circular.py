"""Calls that go back and forth: each end calls the other one, ten deep, on one connection."""

import socket

import pyroipc


@pyroipc.expose
class Player:
    def __init__(self):
        self._hits = 0

    def hit(self, other, left):
        self._hits += 1
        if left:
            other.hit(self, left - 1)
        return self._hits


@pyroipc.expose
class Opponent(Player):
    pass


def make_opponent():
    return Opponent()


pair = socket.socketpair()
with pyroipc.Daemon(connected_socket=pair[0]) as daemon:
    player = Player()
    daemon.register(player)
    with pyroipc.spawn(make_opponent) as opponent:
        print("the opponent's hits:", opponent.hit(player, 10))
    print("the player's hits:", player._hits)
for sock in pair:
    sock.close()

# Output:
#   the opponent's hits: 6
#   the player's hits: 5
