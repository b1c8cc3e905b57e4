"""``pyroipc demo`` shows what the README promises."""

from __future__ import annotations

import re

from tests.support.snippets import run_module


def test_demo():
    returncode, printed, errors = run_module("pyroipc", "demo", "--calls", "20", timeout=50)
    assert (returncode, errors) == (0, "")
    assert re.search(r"add\(1, 2, 3\)\s+16$", printed, re.M)
    assert re.search(r"divide\(0\)\s+raises ZeroDivisionError", printed)
    assert re.search(r"multiprocessing\.Pipe\s+[\d.]+ µs$", printed, re.M)
    assert re.search(r"PeerDiedError after [\d.]+ ms: .*SIGKILL", printed)
