"""The settings belong to the process: the shim and each test leave them as they were."""

from __future__ import annotations

import pytest

import pyroipc
from pyroipc.settings.values import DEFAULTS


def _state():
    return pyroipc.config.as_dict(), dict(pyroipc.config._sources)


def _restore(state):
    values, sources = state
    for name in DEFAULTS:
        setattr(pyroipc.config, name, values[name])
    pyroipc.config._sources.clear()
    pyroipc.config._sources.update(sources)


_before = _state()
from pyroipc.compat.pyro4.configuration import config  # noqa: E402

_restore(_before)


@pytest.fixture(autouse=True)
def _settings():
    before, idle = _state(), dict(config._idle)
    yield
    _restore(before)
    config._idle.clear()
    config._idle.update(idle)


@pytest.fixture(params=["pyro4", "native"])
def dialect(request):
    """What the proxies speak: Pyro4's dialect, as in every program for it, or the native one."""
    pyroipc.config.DIALECT = request.param
    return request.param
