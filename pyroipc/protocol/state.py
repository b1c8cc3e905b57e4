"""The states of a connection: one table for both halves.

A connection is a stream on which conversations follow each other. A conversation is opened by a
hello, which the other side answers with a welcome; then both sides may call; it ends when one
side says goodbye, and the same stream may carry another one. Both ends have the same states;
which end serves is not the protocol's business::

                 send hello            receive welcome
        IDLE ------------------> GREETING ------------> OPEN
          |  receive hello (answered by a welcome)       ^ |
          +----------------------------------------------+ |
          ^  receive goodbye                               |
          +------------------------------------------------+ send goodbye
          ^  receive goodbye, or a hello opens anew        v
          +---------------------------------------------- LEFT

In LEFT everything but a hello and a goodbye is dropped: the peer sent it before it knew. ENDED
(the stream is over) and FAILED (the peer broke the rules) can be reached from everywhere and
are final: a connection is never brought back into step by guessing.

Who may send what: requests, pings and their kin only in OPEN. Answers carry the id of what they
answer, ids are never used twice on one stream, and an answer that nobody waits for is dropped;
that is how a call that was abandoned, by its deadline or by Ctrl-C, leaves the stream in step.
"""

from __future__ import annotations

from pyroipc.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IDLE = "idle"
GREETING = "greeting"
OPEN = "open"
LEFT = "left"
ENDED = "ended"
FAILED = "failed"

SEND_HELLO = "send hello"
RECEIVE_HELLO = "receive hello"
RECEIVE_WELCOME = "receive welcome"
RECEIVE_CALL = "receive request, answer, ping, cancel, credit or item"
SEND_GOODBYE = "send goodbye"
RECEIVE_GOODBYE = "receive goodbye"
RECEIVE_REFUSAL = "receive refusal"
STREAM_ENDED = "stream ended"
RULE_BROKEN = "rule broken"

TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    IDLE: {
        SEND_HELLO: GREETING,
        RECEIVE_HELLO: OPEN,
        RECEIVE_WELCOME: IDLE,  # the answer to a hello that was given up
        RECEIVE_CALL: IDLE,  # sent before the peer knew that the conversation had ended
        RECEIVE_GOODBYE: IDLE,
        SEND_GOODBYE: LEFT,
    },
    GREETING: {
        SEND_HELLO: GREETING,
        RECEIVE_HELLO: OPEN,
        RECEIVE_WELCOME: OPEN,
        RECEIVE_CALL: GREETING,  # late answers of the conversation before
        RECEIVE_GOODBYE: GREETING,  # the end of the conversation before
        RECEIVE_REFUSAL: IDLE,
        SEND_GOODBYE: LEFT,
    },
    OPEN: {
        SEND_HELLO: OPEN,  # both said hello at once
        RECEIVE_HELLO: OPEN,
        RECEIVE_WELCOME: OPEN,
        RECEIVE_CALL: OPEN,
        SEND_GOODBYE: LEFT,
        RECEIVE_GOODBYE: IDLE,
    },
    LEFT: {
        SEND_HELLO: GREETING,
        RECEIVE_HELLO: OPEN,
        RECEIVE_WELCOME: LEFT,
        RECEIVE_CALL: LEFT,
        SEND_GOODBYE: LEFT,
        RECEIVE_GOODBYE: IDLE,
    },
    ENDED: {STREAM_ENDED: ENDED},
    FAILED: {STREAM_ENDED: FAILED},
}


def after(state: str, event: str) -> str:
    """Return the state that follows ``state`` after ``event``.

    Raises:
        ProtocolError: the event is not allowed in this state.
    """
    following = TRANSITIONS[state].get(event)
    if following is not None:
        return following
    if event == STREAM_ENDED:
        return ENDED
    if event == RULE_BROKEN:
        return FAILED
    raise ProtocolError(f"not allowed now: {event} (the connection is {state})")
