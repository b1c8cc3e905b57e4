"""The threads that futures share: crews and the clock."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from pyroipc.client import crew
from pyroipc.client.crew import Clock, Crew
from tests.support.waiting import wait_until

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def threads_end_soon(monkeypatch):
    monkeypatch.setattr(crew, "_IDLE_SECONDS", 0.02)


def threads(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_patient_crew_keeps_the_order_on_one_thread():
    patient = Crew("test-order", 8, 30)
    done, seen, idents = threading.Event(), [], set()

    def note(i):
        seen.append(i)
        idents.add(threading.get_ident())

    for i in range(300):
        patient.put(note, i)
    patient.put(done.set)
    assert done.wait(PATIENCE)
    assert seen == list(range(300))
    assert len(idents) == 1


def test_another_thread_takes_over_from_one_that_waits():
    patient = Crew("test-patience", 8, 0.02)
    first, second, third = threading.Event(), threading.Event(), threading.Event()
    # Each waits for the one behind it.
    patient.put(lambda: second.wait(PATIENCE) and first.set())
    patient.put(lambda: third.wait(PATIENCE) and second.set())
    patient.put(third.set)
    assert first.wait(PATIENCE)


def test_a_crew_has_no_more_threads_than_it_may():
    small = Crew("test-size", 2, 0)
    gate, done = threading.Event(), threading.Semaphore(0)
    for _ in range(6):
        small.put(lambda: (gate.wait(PATIENCE), done.release()))
    assert len(threads("test-size")) == 2
    gate.set()
    for _ in range(6):
        assert done.acquire(timeout=PATIENCE)


def test_an_impatient_crew_lets_nothing_wait():
    impatient = Crew("test-impatient", 5, 0)
    barrier = threading.Barrier(5)
    for _ in range(4):
        impatient.put(barrier.wait, PATIENCE)
    barrier.wait(PATIENCE)


def test_threads_end_when_there_is_nothing_to_do():
    fleeting = Crew("test-fleeting", 5, 0)
    done = threading.Event()
    fleeting.put(done.set)
    assert done.wait(PATIENCE)
    wait_until(lambda: not threads("test-fleeting"), "the thread has ended")
    again = threading.Event()
    fleeting.put(again.set)
    assert again.wait(PATIENCE)


def test_one_that_fails_does_not_keep_the_others_from_it(monkeypatch):
    told = []
    monkeypatch.setattr("sys.excepthook", lambda *args: told.append(args[0]))
    patient, done = Crew("test-failing", 1, 30), threading.Event()
    patient.put(lambda: [][0])
    patient.put(done.set)
    assert done.wait(PATIENCE)
    assert told == [IndexError]


def test_the_clock_calls_in_the_order_of_time():
    clock, seen, done = Clock(), [], threading.Event()
    now = monotonic()
    clock.call_at(now + 0.03, lambda: (seen.append("late"), done.set()))
    clock.call_at(now + 0.02, lambda: seen.append("dropped")).function = None
    clock.call_at(now + 0.01, lambda: seen.append("early"))
    clock.call_at(now - 1, lambda: seen.append("at once"))
    assert done.wait(PATIENCE)
    assert seen == ["at once", "early", "late"]
    assert monotonic() >= now + 0.03


def test_an_appointment_can_be_cancelled():
    clock, seen, done = Clock(), [], threading.Event()
    now = monotonic()
    appointment = clock.call_at(now + 0.01, lambda: seen.append("cancelled"))
    clock.call_at(now + 0.02, done.set)
    clock.cancel(appointment)
    clock.cancel(appointment)
    assert done.wait(PATIENCE)
    assert seen == []


def test_the_clock_starts_again_after_its_thread_has_ended():
    clock = Clock()
    for _ in range(2):
        done = threading.Event()
        clock.call_at(monotonic(), done.set)
        assert done.wait(PATIENCE)
        wait_until(lambda: not clock._runs, "the thread of the clock has ended")
