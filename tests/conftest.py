"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal

import hypothesis

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

# A job that was started in the background may ignore Ctrl-C, and all its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Take the tests themselves out of what each collection of garbage looks through.

    They are hundreds of thousands of objects that stay until the end: a tenth of a second and
    more for each ``gc.collect()``, of which some tests need many.
    """
    gc.collect()
    gc.freeze()
