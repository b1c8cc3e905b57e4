"""What holds for all tests with live peers."""

from __future__ import annotations

import pytest

from tests.support import pyro_peers


@pytest.fixture(scope="session", autouse=True)
def _peers_end():
    yield
    pyro_peers.stop_shared()
