"""After every test here, the process has what it had before: nothing more, nothing less."""

from __future__ import annotations

import pytest

from pyroipc.client import janitor, pump
from pyroipc.context import running
from tests.support.leaks import lasting_differences, resources

janitor.start()  # one thread for the life of the process, from the first reference on
pump._POLL_MILLISECONDS = 50  # a pump ends so long after its session; each test waits for that


@pytest.fixture(autouse=True)
def no_context_is_in_use():
    running.set(None)  # a test before may have used one


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = resources()
    yield
    found = lasting_differences(before)
    if found:
        pytest.fail("the test left the process changed:\n  " + "\n  ".join(found))
