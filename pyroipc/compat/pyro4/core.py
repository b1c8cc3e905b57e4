"""``Pyro4.core``: objects, proxies, daemons, and how they find each other."""

from __future__ import annotations

from pyroipc.client.future_results import asyncproxy
from pyroipc.compat.pyro4 import constants, errors, futures
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.daemons import Daemon, DaemonObject
from pyroipc.compat.pyro4.nameservers import locateNS, resolve
from pyroipc.compat.pyro4.proxies import URI, Proxy
from pyroipc.context import current_context
from pyroipc.protocol.blobs import SerializedBlob
from pyroipc.server.exposure import behavior, callback, expose, oneway

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.client.batch import BatchProxy

__all__ = [
    "URI",
    "Daemon",
    "DaemonObject",
    "Proxy",
    "SerializedBlob",
    "_locateNS",
    "_resolve",
    "asyncproxy",
    "batch",
    "behavior",
    "callback",
    "config",
    "constants",
    "current_context",
    "errors",
    "expose",
    "futures",
    "locateNS",
    "oneway",
    "resolve",
]

_locateNS = locateNS
_resolve = resolve


def batch(proxy: Proxy[Any]) -> BatchProxy:
    """Return an object that collects calls of a remote object, to be made together.

    Args:
        proxy: the proxy of the object.
    """
    return proxy._pyroBatch()
