"""What a client is owed: small messages pass by long ones, and keep their order otherwise."""

from __future__ import annotations

from pyroipc.server.loops.backlog import Backlog
from pyroipc.wire.message import GOODBYE, REQUEST, RESPONSE, FullMessage
from pyroipc.wire.native import encode, encode_plain, plain_prefix
from pyroipc.wire.pyro5 import Pyro5

MIB = 1 << 20
ANSWER = plain_prefix(RESPONSE, 1, 0)


def long_answer(request_id, n_bytes=3 * MIB):
    return encode(FullMessage(RESPONSE, 1, 0, request_id, b"", buffers=[bytes(n_bytes)]))


def all_of(backlog):
    lots = []
    while backlog:
        lots.append(b"".join(backlog.take()))
    return lots


def test_nothing_is_no_message():
    backlog = Backlog()
    backlog.append([])
    assert not backlog
    backlog.append(long_answer(1))
    backlog.take()
    backlog.append([])  # the answer to a batch of oneway calls
    assert len(backlog) == 1
    assert sum(map(len, all_of(backlog))) > 2 * MIB


def test_small_ones_pass_by_a_long_one():
    backlog = Backlog()
    backlog.append(long_answer(1))
    first = backlog.take()
    assert backlog.is_long
    small = encode_plain(ANSWER, 2, b"small")
    backlog.append(small)
    backlog.append(long_answer(3))
    lots = all_of(backlog)
    assert lots[0].startswith(small)
    whole = b"".join(first) + b"".join(lots)
    assert whole.replace(small, b"") == b"".join(long_answer(1)) + b"".join(long_answer(3))
    assert not backlog.is_long


def test_what_belongs_to_a_long_one_waits_for_its_end():
    backlog = Backlog()
    backlog.append(long_answer(1))
    same_call = encode_plain(ANSWER, 1, b"same call")
    goodbye = encode_plain(plain_prefix(GOODBYE, 0, 0), 9, b"left: bye")
    for data in (same_call, goodbye, encode_plain(ANSWER, 2, b"other call")):
        backlog.append(data)
    lots = all_of(backlog)
    assert lots[-1] == same_call + goodbye
    assert b"other call" in lots[0]


def test_messages_of_pyro_are_sent_as_they_come():
    dialect = Pyro5(serving=False)
    sent = [
        b"".join(dialect.encode(REQUEST, 1, 0, request_id, b"p" * 10)) for request_id in (1, 6, 1)
    ]
    backlog = Backlog()
    for data in sent:
        backlog.append(data)
    assert b"".join(backlog.take()) == b"".join(sent)


def test_a_client_that_is_gone_is_owed_nothing():
    backlog = Backlog()
    backlog.append(long_answer(1))
    backlog.take()
    backlog.clear()
    assert not backlog
    assert not backlog.is_long
    assert backlog.take() == []
