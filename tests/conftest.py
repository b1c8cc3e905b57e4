"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import hypothesis

# A shared machine may pause a test at any moment, so no example has a time limit of its own; the
# test as a whole has. In CI the examples are the same in every run.
hypothesis.settings.register_profile("everywhere", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("everywhere"), derandomize=True, database=None
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "everywhere")

# The tests say what they want set; the machine's environment does not.
for _name in [name for name in os.environ if name.startswith("PYRO_")]:
    del os.environ[_name]

# A job that was started in the background may ignore Ctrl-C, and all its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
