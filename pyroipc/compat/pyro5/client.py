"""``Pyro5.client``: proxies, batches and blobs, which are pyroipc's own."""

from __future__ import annotations

from pyroipc.client.batch import BatchProxy
from pyroipc.client.proxy import Proxy
from pyroipc.compat.pyro5._settings import config
from pyroipc.context import current_context
from pyroipc.protocol.blobs import SerializedBlob

__all__ = ["BatchProxy", "Proxy", "SerializedBlob", "config", "current_context"]
