"""What waits when there is too much to do: lanes, postponed requests, the watchlist."""

from __future__ import annotations

import pytest

from pyroipc.errors import DrainingError
from pyroipc.server.loops.overload import Lanes, Postponed, Times, Watchlist
from pyroipc.wire.message import ONEWAY, REQUEST, Message


class Client:
    """What a visitor is to these."""

    def __init__(self, name="", **facts):
        self.name = name
        self.has_oneway = True
        self.has_ended = False
        self.is_postponed = False
        self.is_waited_for = False
        self.is_admitted = True
        self.owes_since = None
        self.came_at = self.active_at = 0.0
        self.refused = []
        self.looks = 0
        self.end = None
        self.session = self
        self.channel = self
        self.sock = self
        self.__dict__.update(facts)

    def fileno(self):
        return -1

    def refuse(self, message, error):
        self.refused.append(error)

    def look_again(self):
        self.looks += 1

    def cut_off(self, why):
        self.has_ended, self.end = True, why

    dismiss = cut_off

    def __repr__(self):
        return self.name


# ----------------------------------------------------------------------------------- lanes


def test_one_thread_for_each_client_and_not_too_many_in_all():
    lanes = Lanes(2)
    a, b, c = map(Client, "abc")
    assert lanes.enter(a)
    assert not lanes.enter(a)  # another thread runs its calls already
    assert lanes.enter(b)
    assert not lanes.enter(c)
    assert lanes.are_full
    a.has_oneway = False
    assert lanes.leave(a) is c
    assert not lanes.are_full
    assert lanes.enter(c)


def test_whoever_waits_has_its_turn_before_the_one_that_goes_on():
    lanes = Lanes(1)
    a, b, c = map(Client, "abc")
    assert lanes.enter(a)
    for _ in range(3):  # however often it asks, it waits once
        assert not lanes.enter(b)
    assert not lanes.enter(c)
    assert lanes.leave(a) is b
    assert lanes.enter(b)
    b.has_oneway = False
    assert lanes.leave(b) is c
    assert lanes.enter(c)
    c.has_oneway = False
    assert lanes.leave(c) is a


def test_whoever_has_nothing_left_does_not_keep_others_waiting():
    lanes = Lanes(1)
    a, empty, gone, b = (Client(name) for name in ("a", "empty", "gone", "b"))
    assert lanes.enter(a)
    for client in (empty, gone, b):
        assert not lanes.enter(client)
    empty.has_oneway = False
    gone.has_ended = True
    a.has_oneway = False
    assert lanes.leave(a) is b
    assert not lanes.are_full


def test_a_client_ends_when_its_oneway_calls_have_run_and_once():
    lanes = Lanes(1)
    a, b = map(Client, "ab")
    assert lanes.end(b)  # nobody runs its calls
    assert lanes.enter(a)
    assert not lanes.end(a)
    assert not lanes.may_end(a)
    lanes.leave(a)
    assert lanes.may_end(a)
    assert not lanes.may_end(a)
    a.has_ended = True
    assert not lanes.enter(a)


# ------------------------------------------------------------------------------- postponed


def request(flags=0):
    return Message(REQUEST, 1, flags, 1, b"")


def test_requests_wait_in_their_order_and_each_so_long():
    postponed = Postponed(3, 5.0)
    a, b = map(Client, "ab")
    assert postponed.until == float("inf")
    postponed.add(a, request(), 10.0)
    postponed.add(b, request(), 11.0)
    assert a.is_postponed
    assert postponed.until == 15.0
    postponed.refuse_overdue(14.9, 2)
    assert not a.refused
    postponed.refuse_overdue(15.0, 2)
    assert "all its 3 threads" in str(a.refused[0])
    assert "2 calls wait" in str(a.refused[0])
    assert not a.is_postponed
    assert a.looks == 1
    assert not b.refused
    assert postponed.take()[0] is b
    assert postponed.take() is None


def test_all_are_refused_at_the_end_and_a_oneway_call_is_logged(caplog):
    postponed = Postponed(1, float("inf"))
    a, b = map(Client, "ab")
    postponed.add(a, request(), 0.0)
    postponed.add(b, request(ONEWAY), 0.0)
    error = DrainingError("over")
    postponed.refuse_all(error)
    assert a.refused == [error]
    assert not b.refused
    assert "a oneway call was dropped: over" in caplog.text


# ------------------------------------------------------------------------------- watchlist


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"is_admitted": False}, "introduced itself for 10 s"),
        ({"owes_since": 1.0}, "taken nothing of what it was sent for 30 s"),
    ],
)
def test_the_overdue_are_cut_off(facts, text):
    watchlist = Watchlist(Times())
    late, fine = Client(**facts), Client()
    watchlist.add(late)
    watchlist.add(fine)
    assert watchlist.overdue({}, (), 5.0) == []
    found = []
    for now in (11.0, 32.0, 40.0, 100.0):
        found += watchlist.overdue({}, (), now)
    assert found == [late]
    assert text in late.end
    assert not fine.has_ended


def test_whoever_takes_a_little_is_not_cut_off(monkeypatch):
    left = iter([1000, 900, 800, 700, 700, 700])
    monkeypatch.setattr("pyroipc.server.loops.overload.unsent_bytes", lambda _: next(left))
    watchlist = Watchlist(Times(write=30.0))
    slow = Client(owes_since=0.0)
    watchlist.add(slow)
    for now in (1.0, 25.0, 50.0, 75.0, 100.0):
        assert watchlist.overdue({}, (), now) == []
    assert watchlist.overdue({}, (), 106.0) == [slow]


def test_idle_clients_are_dismissed_if_that_is_wanted():
    times = Times(idle=5.0)
    idle, busy, called, active = (
        Client(),
        Client(),
        Client(is_waited_for=True),
        Client(active_at=9.0),
    )
    visitors = dict(enumerate((idle, busy, called, active)))
    assert Watchlist(times).overdue(visitors, {busy}, 10.0) == [idle]
    assert Watchlist(Times()).overdue(visitors, (), 10_000.0) == []
