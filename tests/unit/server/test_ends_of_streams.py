"""How a stream on its way to a caller ends."""

import threading
from time import monotonic

import pytest

from pyroipc.server.loops.stream import Feed, Stream
from pyroipc.wire.message import END, ERROR


class Codec:
    """Encodes nothing."""

    serializer_id = 0

    def compressed(self, flags, payload):
        return flags, payload

    def dumps(self, value):
        return b"items"


class SlowFeed(Feed):
    """Notes the flags of what is sent; sending items takes until told otherwise."""

    __slots__ = ("go_on", "sending", "sent")

    def __init__(self):
        super().__init__(self, Codec(), 1, lambda request_id: None)
        self.active = True
        self.sent = []
        self.sending = threading.Event()
        self.go_on = threading.Event()

    def encode(self, flags, payload):
        return flags

    def check_size(self, data):
        pass

    def answer(self, data):
        self.sent.append(data)
        self.sending.set()
        assert self.go_on.wait(10)

    def send(self, data, deadline):
        self.sent.append(data)


@pytest.mark.timeout(30)
def test_one_that_grows_too_old_while_items_are_sent_says_so(monkeypatch):
    monkeypatch.setattr(Stream, "_last_words", lambda *_: b"too old")
    stream = Stream(iter(range(1000)), 3600)
    stream.feed = feed = SlowFeed()
    producer = threading.Thread(target=stream.produce, args=(lambda stream: None,))
    producer.start()
    assert feed.sending.wait(10)
    stream.expires = monotonic()
    stream.expire()  # what the daemon's janitor does
    feed.go_on.set()
    producer.join(10)
    assert feed.sent == [0, END | ERROR]
    assert stream.closed
    assert list(stream.iterator) == []
