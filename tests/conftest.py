"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
import sys

import hypothesis
import pytest

from tests.support.searching import SEARCHING, share

# A shared machine may pause a test at any moment, so no example has a time limit of its own; the
# test as a whole has. The examples are the same in every run, so that what fails here is what was
# changed here; ``PYROIPC_SEARCH=1`` looks for new ones, and more, and keeps those that fail.
hypothesis.settings.register_profile("search", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "same",
    hypothesis.settings.get_profile("search"),
    max_examples=share(100),
    derandomize=True,
    database=None,
)
hypothesis.settings.load_profile("search" if SEARCHING else "same")

# The tests say what they want set; the machine's environment does not.
for _name in [name for name in os.environ if name.startswith("PYRO_")]:
    del os.environ[_name]

# Children import the package hundreds of times; to compile it each time takes longer than to test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A job that was started in the background may ignore Ctrl-C, and all its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Take the tests themselves out of what each collection of garbage looks through."""
    _set_aside()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Do the same with what a module has loaded, when its last test is over."""
    if nextitem is None or nextitem.path != item.path:
        _set_aside()


def _set_aside():
    """Have the collector no longer look at what is there: it stays until the end.

    These are hundreds of thousands of objects: a quarter of a second for each ``gc.collect()``,
    of which there are several in a test.
    """
    gc.collect()
    gc.freeze()
