"""The transition table."""

from __future__ import annotations

import pytest

from pyroipc.errors import ProtocolError
from pyroipc.protocol import state
from pyroipc.protocol.state import TRANSITIONS, after

STATES = {state.IDLE, state.GREETING, state.OPEN, state.LEFT, state.ENDED, state.FAILED}
EVENTS = {
    state.SEND_HELLO,
    state.RECEIVE_HELLO,
    state.RECEIVE_WELCOME,
    state.RECEIVE_CALL,
    state.SEND_GOODBYE,
    state.RECEIVE_GOODBYE,
    state.RECEIVE_REFUSAL,
    state.STREAM_ENDED,
    state.RULE_BROKEN,
}


def test_the_table_is_closed():
    assert set(TRANSITIONS) == STATES
    for row in TRANSITIONS.values():
        assert set(row) <= EVENTS
        assert set(row.values()) <= STATES


@pytest.mark.parametrize("now", sorted(STATES))
@pytest.mark.parametrize("event", sorted(EVENTS))
def test_every_event_has_an_answer(now, event):
    following = TRANSITIONS[now].get(event)
    if following is not None:
        assert after(now, event) == following
    elif event == state.STREAM_ENDED:
        assert after(now, event) == state.ENDED
    elif event == state.RULE_BROKEN:
        assert after(now, event) == state.FAILED
    else:
        with pytest.raises(ProtocolError, match=now):
            after(now, event)


@pytest.mark.parametrize("now", [state.ENDED, state.FAILED])
def test_the_end_is_final(now):
    for event in EVENTS - {state.STREAM_ENDED, state.RULE_BROKEN}:
        with pytest.raises(ProtocolError):
            after(now, event)
    assert after(now, state.STREAM_ENDED) == now


def test_the_usual_ways():
    def walk(*events):
        now = state.IDLE
        for event in events:
            now = after(now, event)
        return now

    assert walk(state.SEND_HELLO, state.RECEIVE_WELCOME, state.RECEIVE_CALL) == state.OPEN
    assert walk(state.RECEIVE_HELLO, state.RECEIVE_CALL, state.RECEIVE_GOODBYE) == state.IDLE
    assert walk(state.RECEIVE_HELLO, state.SEND_GOODBYE, state.RECEIVE_CALL) == state.LEFT
    assert walk(state.RECEIVE_HELLO, state.SEND_GOODBYE, state.RECEIVE_HELLO) == state.OPEN
    assert walk(state.SEND_HELLO, state.RECEIVE_GOODBYE) == state.GREETING
    assert walk(state.SEND_HELLO, state.RECEIVE_REFUSAL) == state.IDLE
