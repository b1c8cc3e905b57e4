"""What current_context shows, and to whom."""

from __future__ import annotations

import contextvars
import threading
import uuid
from types import SimpleNamespace

import pytest

from pyroipc.context import CallContext, context_in_use, current_context, running
from pyroipc.wire.message import ONEWAY, REQUEST, FullMessage, Message


@pytest.fixture(autouse=True)
def fresh_context():
    token = running.set(None)
    yield
    running.reset(token)


def test_outside_of_a_call():
    assert current_context.client is None
    assert current_context.client_sock_addr is None
    assert (current_context.seq, current_context.msg_flags, current_context.serializer_id) == (
        0,
        0,
        0,
    )
    assert current_context.time_limit is None
    assert current_context.correlation_id is None
    assert context_in_use() is None, "looking made a context"


def test_inside_of_a_call():
    client = SimpleNamespace(peer=SimpleNamespace(address=("127.0.0.1", 5)))
    message = FullMessage(
        REQUEST, 3, ONEWAY, 77, b"", annotations={"ABCD": b"x"}, correlation_id=bytes(16),
        time_limit=2.0,
    )  # fmt: skip
    running.set((message, client))
    assert current_context.client is client
    assert current_context.client_sock_addr == ("127.0.0.1", 5)
    assert (current_context.seq, current_context.msg_flags, current_context.serializer_id) == (
        77, ONEWAY, 3,
    )  # fmt: skip
    assert current_context.time_limit == 2.0
    assert current_context.annotations == {"ABCD": b"x"}
    assert current_context.correlation_id == uuid.UUID(int=0)
    assert type(running.get()) is CallContext


def test_a_plain_message_has_nothing_extra():
    running.set((Message(REQUEST, 3, 0, 1, b""), None))
    assert current_context.annotations == {}
    assert current_context.response_annotations == {}
    assert current_context.correlation_id is None


def test_annotations_of_one_call_are_not_those_of_the_next():
    for i in range(3):
        running.set((Message(REQUEST, 3, 0, i, b""), None))
        assert current_context.response_annotations == {}
        current_context.response_annotations = {"ABCD": b"x"}
        current_context.annotations = {"ABCD": b"x"}


@pytest.mark.parametrize("value", [5, "text", b"x" * 16, SimpleNamespace(bytes=b"short")])
def test_a_correlation_id_is_a_uuid(value):
    with pytest.raises(TypeError):
        current_context.correlation_id = value
    current_context.correlation_id = uuid.UUID(int=5)
    assert current_context.correlation_id == uuid.UUID(int=5)
    current_context.correlation_id = None
    assert current_context.correlation_id is None


def test_threads_and_tasks_have_their_own():
    current_context.annotations = {"MAIN": b""}
    seen = []
    thread = threading.Thread(target=lambda: seen.append(dict(current_context.annotations)))
    thread.start()
    thread.join()
    assert seen == [{}]
    contextvars.Context().run(lambda: seen.append(dict(current_context.annotations)))
    assert seen == [{}, {}]
    assert current_context.annotations == {"MAIN": b""}


def test_there_are_no_other_attributes():
    with pytest.raises(AttributeError):
        current_context.anotations = {}
