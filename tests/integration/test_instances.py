"""Instance modes: which instance of a registered class answers a call."""

# ruff: noqa: SIM117 - a host and the proxies that use it read best one inside of the other

from __future__ import annotations

import threading

import pytest

from pyroipc import Proxy, behavior, expose
from tests.support.hosts import PATIENCE, hosted, together


def counting(mode, creator=None):
    @behavior(instance_mode=mode, instance_creator=creator)
    @expose
    class Counting:
        made: list = []  # noqa: RUF012

        def __init__(self):
            self.made.append(self)
            self._count = 0

        def __len__(self):
            return 0  # falsy: it is kept all the same

        def count(self):
            self._count += 1
            return self._count

    return Counting


def count_twice(near):
    with Proxy("it", connected_socket=near) as proxy:
        return [proxy.count(), proxy.count()]


@pytest.mark.parametrize(
    ("mode", "counts", "made"),
    [("single", [1, 2, 3, 4], 1), ("session", [1, 2, 1, 2], 2), ("percall", [1, 1, 1, 1], 4)],
)
def test_modes(mode, counts, made):
    cls = counting(mode)
    with hosted({"it": cls}) as (near, _):
        assert count_twice(near) + count_twice(near) == counts
        assert len(cls.made) == made


def test_a_creator():
    def create(cls):
        made = cls()
        made._count = 10
        return made

    with hosted({"it": counting("single", create)}) as (near, _):
        assert count_twice(near) == [11, 12]


@pytest.mark.parametrize("mode", ["single", "session", "percall"])
def test_creators_that_fail(mode):
    errors = [LookupError("not today")]

    def create(cls):
        if errors:
            raise errors.pop()
        return cls()

    with hosted({"it": counting(mode, create)}) as (near, _):
        with Proxy("it", connected_socket=near) as proxy:
            with pytest.raises(LookupError, match="not today"):
                proxy.count()
            assert proxy.count() == 1


def test_creators_of_something_else():
    with hosted({"it": counting("single", lambda cls: 5)}) as (near, _):
        with Proxy("it", connected_socket=near) as proxy:
            with pytest.raises(TypeError, match="returned a int"):
                proxy.count()


@pytest.mark.parametrize("mode", ["single", "session"])
def test_a_race_makes_one(mode):
    inside = threading.Event()

    def create(cls):
        inside.wait(0.2)  # long enough for the others to come
        return cls()

    cls = counting(mode, create)
    with hosted({"it": cls}) as (near, _), Proxy("it", connected_socket=near) as proxy:
        counts = together(*[proxy.count] * 4, timeout=PATIENCE)
    assert sorted(counts) == [1, 2, 3, 4]
    assert len(cls.made) == 1
