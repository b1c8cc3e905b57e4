"""What holds for all tests with live peers."""

from __future__ import annotations

import pytest

import pyroipc
from tests.support import pyro_peers


@pytest.fixture(autouse=True)
def _dialects_stay():
    """Importing a shim changes what proxies speak, unless somebody has said it."""
    yield
    if pyroipc.config.source("DIALECT") == "default":
        pyroipc.config.DIALECT = "auto"
        pyroipc.config._sources.pop("DIALECT", None)


@pytest.fixture(scope="session", autouse=True)
def _peers_end():
    yield
    pyro_peers.stop_shared()
