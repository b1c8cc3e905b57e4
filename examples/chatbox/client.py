"""A chat client, ``python client.py URI CHANNEL NICK``: what you type is said, until Ctrl-D."""

import socket
import sys

import pyroipc


class Screen:
    @pyroipc.expose
    @pyroipc.oneway
    def show(self, nick, text):
        print(f"<{nick}> {text}", flush=True)


uri, channel, nick = sys.argv[1:]

# The screen only has to be registered somewhere. Its calls come in over the proxy's connection,
# on a thread of the library while this one waits for a line. So no port is opened here.
near, far = socket.socketpair()
with near, far, pyroipc.Daemon(connected_socket=near) as daemon, pyroipc.Proxy(uri) as box:
    screen = Screen()
    daemon.register(screen)
    people = box.join(channel, nick, screen)
    print(f"in the channel: {', '.join(people)}", flush=True)
    for line in sys.stdin:
        box.say(channel, nick, line.strip())
