"""What a failed call was given can go at once: no exception keeps it until the collector comes."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from typing import Any

import numpy
import pytest

import pyroipc
from tests.support.hosts import forked, hosted


@pyroipc.expose
class Failing:
    """Fails in many ways, with whatever it is given."""

    def raise_error(self, given: Any) -> None:
        raise ValueError("on purpose")

    def return_lock(self, given: Any) -> Any:
        return threading.Lock()

    def die(self, given: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def wait(self, given: Any) -> None:
        threading.Event().wait(0.5)

    def name(self, given: Any) -> str:
        return type(given).__name__


class Given(list[Any]):
    """A list that weak references may point to."""


@pytest.fixture
def uncollected():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def is_gone_after(call: Any, error: type[BaseException], make: Any = Given) -> bool:
    given = make()
    seen = weakref.ref(given)
    with pytest.raises(error):
        call(given)
    del given
    return seen() is None


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ["pickle", "msgpack"])
@pytest.mark.parametrize("length", [10, 100_000])
def test_after_the_error_of_a_method(name, length):
    def given():
        return numpy.zeros(length)

    with forked({"it": Failing()}) as (near, _), pyroipc.Proxy("it", connected_socket=near) as far:
        far._pyroSerializer = name
        assert is_gone_after(far.raise_error, ValueError, given)
        assert is_gone_after(far.return_lock, pyroipc.SerializeError, given)
        assert is_gone_after(lambda x: far._pyroInvoke("no", (x,), {}), AttributeError, given)
        assert is_gone_after(lambda x: far.raise_error(x, 1), TypeError, given)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("name", ["pickle", "msgpack"])
def test_after_what_cannot_be_sent(name):
    with forked({"it": Failing()}) as (near, _), pyroipc.Proxy("it", connected_socket=near) as far:
        far._pyroSerializer = name
        assert is_gone_after(far.name, pyroipc.SerializeError, lambda: Given([threading.Lock()]))
        assert is_gone_after(
            lambda x: far.name([x, threading.Lock()]),
            pyroipc.SerializeError,
            lambda: numpy.zeros(100_000),
        )


@pytest.mark.usefixtures("uncollected")
def test_after_a_timeout():
    with hosted({"it": Failing()}) as (near, _), pyroipc.Proxy("it", connected_socket=near) as far:
        far._pyroTimeout = 0.05
        assert is_gone_after(far.wait, pyroipc.TimeoutError)


@pytest.mark.usefixtures("uncollected")
def test_after_the_death_of_the_child():
    with pyroipc.spawn(Failing, start="fork") as far:
        assert is_gone_after(far.die, pyroipc.PeerDiedError)
        assert is_gone_after(far.die, pyroipc.PyroError)
