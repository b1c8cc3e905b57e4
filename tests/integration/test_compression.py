"""COMPRESSION: every way of calling works with it, on either end, and what is sent is smaller."""

from __future__ import annotations

import threading

import pytest

import pyroipc
from pyroipc.transports.sending import SendingHalf

TEXT = "a text that repeats itself " * 4000


@pyroipc.expose
class Thing:
    def __init__(self):
        self.told = threading.Event()
        self.value = TEXT

    def echo(self, value):
        return value

    def lines(self, count):
        for _ in range(count):
            yield TEXT

    def broken_lines(self):
        yield TEXT
        raise ValueError(TEXT)

    def fail(self):
        raise ValueError(TEXT)

    @pyroipc.oneway
    def tell(self, value):
        if value == TEXT:
            self.told.set()

    def call_back(self, other, value):
        return other.echo(value)

    @property
    def text(self):
        return self.value

    @text.setter
    def text(self, value):
        self.value = value


def settings(*, compressed):
    chosen = pyroipc.config.copy()
    chosen.COMPRESSION = compressed
    return chosen


@pytest.fixture(
    params=[(True, True), (True, False), (False, True)], ids=["both", "client", "server"]
)
def link(request):
    """A proxy, the object, and a daemon at the client's end."""
    ours, theirs = request.param
    thing = Thing()
    with pyroipc.Daemon(settings=settings(compressed=theirs)) as daemon:
        uri = daemon.register(thing, "thing")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        try:
            with pyroipc.Proxy(uri, settings=settings(compressed=ours)) as proxy:
                yield proxy, thing
        finally:
            daemon.shutdown()
            loop.join(10)


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_each_way_of_calling(link, serializer):
    proxy, thing = link
    proxy._pyroSerializer = serializer
    assert proxy.echo(TEXT) == TEXT
    assert proxy.echo(TEXT[:900]) == TEXT[:900]
    assert list(proxy.lines(5)) == [TEXT] * 5
    items = proxy.broken_lines()
    assert next(items) == TEXT
    with pytest.raises(ValueError, match="repeats"):
        next(items)
    with pytest.raises(ValueError, match="repeats"):
        proxy.fail()
    assert proxy.echo.submit(TEXT).result() == TEXT
    batch = pyroipc.batch(proxy)
    batch.echo(TEXT)
    batch.echo(1)
    assert list(batch()) == [TEXT, 1]
    proxy.tell(TEXT)
    assert thing.told.wait(10)
    proxy.text = TEXT * 2
    assert proxy.text == TEXT * 2


def test_a_callback(link):
    proxy, _ = link
    with pyroipc.Daemon() as daemon:
        other = Thing()
        daemon.register(other)
        assert proxy.call_back(other, TEXT) == TEXT


def test_it_is_smaller(monkeypatch):
    sizes = []

    def counted(self, parts, *how, **named):
        sizes.append(sum(map(len, parts)))
        return original(self, parts, *how, **named)

    original = SendingHalf.send_parts
    monkeypatch.setattr(SendingHalf, "send_parts", counted)
    for compressed in (False, True):
        thing = Thing()
        with pyroipc.Daemon() as daemon:
            uri = daemon.register(thing, "thing")
            loop = threading.Thread(target=daemon.requestLoop)
            loop.start()
            try:
                with pyroipc.Proxy(uri, settings=settings(compressed=compressed)) as proxy:
                    sizes.clear()
                    proxy.echo(TEXT)
                    assert (max(sizes) > len(TEXT)) != compressed
                    assert not compressed or max(sizes) < len(TEXT) / 10
            finally:
                daemon.shutdown()
                loop.join(10)


def test_what_would_be_too_large_unpacked_is_not_sent():
    small = settings(compressed=True)
    small.MAX_MESSAGE_SIZE = 20_000
    thing = Thing()
    with pyroipc.Daemon(settings=small) as daemon:
        uri = daemon.register(thing, "thing")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        try:
            with pyroipc.Proxy(uri, settings=settings(compressed=True)) as proxy:
                with pytest.raises(pyroipc.MessageTooLargeError) as caught:
                    proxy.echo(TEXT)
                assert caught.value.call_status == "not sent"
                assert proxy.echo(1) == 1
        finally:
            daemon.shutdown()
            loop.join(10)


@pytest.mark.parametrize("limit", [1000, 5000])
def test_a_limit_below_that_of_plain_calls(limit):
    """Small calls are not measured, unless the peer takes less than is small."""
    small = pyroipc.config.copy()
    small.MAX_MESSAGE_SIZE = limit
    with pyroipc.Daemon(settings=small) as daemon:
        uri = daemon.register(Thing(), "thing")
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        try:
            with pyroipc.Proxy(uri) as proxy:
                with pytest.raises(pyroipc.MessageTooLargeError) as caught:
                    proxy.echo("x" * (limit + 1))
                assert caught.value.call_status == "not sent"
                assert proxy.echo("x" * 100) == "x" * 100
        finally:
            daemon.shutdown()
            loop.join(10)
