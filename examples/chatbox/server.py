"""A chat server: it passes on what one says to all others in the channel.

Clients bring an object of their own along, their screen, and the server calls it. These calls go
over the connection that the client has made: nobody has to be reachable from outside. They are
oneway calls, so a slow client holds up nobody.
"""

import threading

import pyroipc


@pyroipc.expose
class ChatBox:
    def __init__(self):
        self._channels = {}  # name: {nick: screen}
        self._lock = threading.Lock()

    def channels(self):
        return sorted(self._channels)

    def join(self, channel, nick, screen):
        """Return who is there; ``screen`` has a method ``show(nick, text)``.

        Raises:
            ValueError: somebody of that name is there already.
        """
        with self._lock:
            people = self._channels.setdefault(channel, {})
            if nick in people:
                raise ValueError(f"somebody of the name {nick} is there")
            people[nick] = screen
        self._publish(channel, "*", f"{nick} has joined", but_to=nick)
        # When the client is gone, for whatever reason, this is closed.
        client = pyroipc.current_context.client
        client.seat = Seat(self, channel, nick)
        pyroipc.current_context.track_resource(client.seat)
        return sorted(people)

    def say(self, channel, nick, text):
        self._publish(channel, nick, text)

    def _publish(self, channel, nick, text, but_to=None):
        with self._lock:
            people = dict(self._channels[channel])
        people.pop(but_to, None)
        for screen in people.values():
            try:
                screen.show(nick, text)
            except pyroipc.CommunicationError:
                pass  # it is gone, and its seat is about to be closed

    def _leave(self, channel, nick):
        with self._lock:
            del self._channels[channel][nick]
        self._publish(channel, "*", f"{nick} has left")


class Seat:
    """The place of a client in a channel."""

    def __init__(self, box, channel, nick):
        self._box, self._channel, self._nick = box, channel, nick

    def close(self):
        self._box._leave(self._channel, self._nick)


if __name__ == "__main__":
    with pyroipc.Daemon() as daemon:
        print(daemon.register(ChatBox(), "chatbox"), flush=True)
        daemon.requestLoop()
