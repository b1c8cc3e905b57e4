"""The handshake: what both ends say when a proxy connects, and what is served before that."""

from __future__ import annotations

import pytest

import pyroipc
from pyroipc import Daemon, Proxy, expose
from pyroipc.errors import CommunicationError
from pyroipc.protocol.calls import DAEMON_NAME
from tests.support.both_ends import SERIALIZERS
from tests.support.hosts import Worker, unix_pair

WORD = {"user": "Irmen", "numbers": [1, 2.5, None], "nested": {"a": ["b"]}}


@expose
class Vault:
    made = 0

    def __init__(self):
        Vault.made += 1

    def open(self, x=None):
        return "gold"


class Guarded(Daemon):
    def validateHandshake(self, conn, data):
        self.asked = [*getattr(self, "asked", []), data]
        if data != WORD:
            raise ValueError("who are you?")
        conn.user = data["user"]
        return {"welcome": data["user"]}


class Guard:
    """A daemon of some class that serves a Vault in a thread."""

    def __init__(self, cls=Guarded):
        Vault.made = 0
        self.near, self.far = unix_pair()
        self.daemon = cls(connected_socket=self.far)
        self.daemon.register(Vault, "vault")
        self.loop = Worker(self.daemon.requestLoop)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.daemon.close()
        self.loop.result()
        self.near.close()
        self.far.close()

    def proxy(self, handshake="hello", serializer="json", cls=Proxy):
        proxy = cls("vault", connected_socket=self.near)
        proxy._pyroHandshake = handshake
        proxy._pyroSerializer = serializer
        return proxy


class Listening(Proxy):
    answers: list = []  # noqa: RUF012

    def _pyroValidateHandshake(self, response):
        self.answers.append(response)


class Refusing(Proxy):
    def _pyroValidateHandshake(self, response):
        raise LookupError("I do not like this daemon")


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_data_both_ways(serializer):
    with Guard() as guard:
        Listening.answers.clear()
        proxy = guard.proxy(WORD, serializer, Listening)
        assert proxy.open() == "gold"
        assert Listening.answers == [{"welcome": "Irmen"}]
        assert guard.daemon.asked == [WORD]
        proxy._pyroRelease()


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_refusal(serializer):
    with Guard() as guard:
        proxy = guard.proxy("wrong", serializer)
        with pytest.raises(CommunicationError, match=r"connection rejected: who are you\?"):
            proxy.open()
        assert Vault.made == 0
        proxy._pyroHandshake = WORD  # the next conversation may succeed
        assert proxy.open() == "gold"
        proxy._pyroRelease()


def test_refused_again_and_again():
    with Guard() as guard:
        for _ in range(5):
            with pytest.raises(CommunicationError, match="rejected"):
                guard.proxy("wrong").open()
        assert guard.proxy(WORD).open() == "gold"


def attempt_call(proxy):
    proxy._pyroInvoke("open", (), {})


def attempt_metadata(proxy):
    proxy._pyroInvoke("get_metadata", ("vault",), {}, 0, DAEMON_NAME)


def attempt_ping(proxy):
    proxy._pyroInvoke("ping", (), {}, 0, DAEMON_NAME)


def attempt_batch(proxy):
    list(proxy._pyroInvokeBatch([("open", (), None)]))


def attempt_blob(proxy):
    proxy._pyroInvoke("open", (pyroipc.SerializedBlob("info", "data"),), {})


def attempt_reference(proxy):
    """An argument that names an object of the daemon must not make its instance."""
    proxy._pyroInvoke("connect", (proxy, None), {}, 0, DAEMON_NAME)


@pytest.mark.parametrize(
    "attempt",
    [attempt_call, attempt_metadata, attempt_ping, attempt_batch, attempt_blob, attempt_reference],
)
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_nothing_is_served_before_admission(attempt, serializer):
    with Guard() as guard:
        proxy = guard.proxy(WORD, serializer)
        with pytest.raises(CommunicationError):
            attempt(proxy)
        assert Vault.made == 0
        assert proxy.open() == "gold"
        proxy._pyroRelease()


def test_the_proxy_refuses():
    with Guard() as guard:
        proxy = guard.proxy(WORD, cls=Refusing)
        with pytest.raises(LookupError, match="do not like"):
            proxy.open()
        assert proxy._pyroConnection is None
        with pytest.raises(LookupError):
            proxy.open()
        assert guard.proxy(WORD).open() == "gold"


def test_without_hooks_any_handshake_will_do():
    with Guard(Daemon) as guard:
        Listening.answers.clear()
        assert guard.proxy({"any": "thing"}, cls=Listening).open() == "gold"
        assert Listening.answers == ["hello"]


def test_annotations_come_with_the_handshake():
    class Noting(Daemon):
        def validateHandshake(self, conn, data):
            self.seen = dict(pyroipc.current_context.annotations)
            pyroipc.current_context.response_annotations = {"RESP": b"r"}
            return "hello"

    with Guard(Noting) as guard:
        pyroipc.current_context.annotations = {"CONN": b"c"}
        try:
            guard.proxy().open()
        finally:
            pyroipc.current_context.from_global(None)
        assert {key: bytes(value) for key, value in guard.daemon.seen.items()} == {"CONN": b"c"}
