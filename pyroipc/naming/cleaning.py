"""Drops entries without a lease whose servers are gone: what NS_AUTOCLEAN asks for.

Each place that entries name is tried now and then, once however many objects are there: somebody
listens, or nobody does. An entry goes when nobody has for a while, so that a server may be
restarted. Unix sockets are tried like any other place. What has no place of its own (a name that
stands for another name) is left alone, and so is what has a lease, which ends by itself.
"""

from __future__ import annotations

import threading
from time import monotonic

from pyroipc.client.connecting import options_of
from pyroipc.errors import PyroError
from pyroipc.naming.names import is_reserved
from pyroipc.transports import descriptors, table
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from pyroipc.location import Location
    from pyroipc.naming.storage.base import Entry, Storage
    from pyroipc.settings import Settings

LEAST_PERIOD: Final = 3.0
PATIENCE: Final = 20.0
"""An entry stays so long after its server was found to be gone."""
_CONNECT_SECONDS: Final = 5.0


class Cleaner:
    """Looks after the entries of a storage, on a thread of its own.

    Args:
        storage: whose entries to look at.
        settings: say how often, and how to connect.
        period: how often, in seconds; None: NS_AUTOCLEAN.
        patience: how long a server may be away.

    Raises:
        ValueError: NS_AUTOCLEAN is below 3 seconds.
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        *,
        period: float | None = None,
        patience: float = PATIENCE,
    ) -> None:
        if period is None and settings.NS_AUTOCLEAN < LEAST_PERIOD:
            raise ValueError(
                f"NS_AUTOCLEAN cannot be smaller than {LEAST_PERIOD:g}: {settings.NS_AUTOCLEAN!r}"
            )
        self._storage = storage
        self._options = options_of(settings)
        self._period = period or settings.NS_AUTOCLEAN
        self._seconds = min(settings.COMMTIMEOUT or _CONNECT_SECONDS, _CONNECT_SECONDS)
        self._patience = patience
        self._gone_since: dict[Location, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pyroipc-autoclean", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; a place that is being tried is not tried to the end."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(2 * self._seconds)

    def _work(self) -> None:
        while not self._stopping.wait(self._period):
            try:
                self.clean()
            except Exception:  # noqa: BLE001 - the next time it may work
                if not self._stopping.is_set():
                    _log().warning("the entries could not be cleaned up", exc_info=True)

    def clean(self) -> list[str]:
        """Look at all entries once; return the names of those that were removed."""
        by_location: dict[Location, list[Entry]] = {}
        for entry in self._storage.entries():
            location = None if is_reserved(entry.name) else _location_of(entry)
            if location is not None:
                by_location.setdefault(location, []).append(entry)
        for gone in self._gone_since.keys() - by_location.keys():
            del self._gone_since[gone]
        removed: list[str] = []
        for location, entries in by_location.items():
            if self._stopping.is_set():
                break
            if self._is_gone(location):
                removed += [entry.name for entry in entries if self._remove(entry)]
        return removed

    def _is_gone(self, location: Location) -> bool:
        """Try a place; say whether nobody was there for long enough."""
        try:
            sock = table.connect(location, self._options, monotonic() + self._seconds)
        except PyroError:
            since = self._gone_since.setdefault(location, monotonic())
            return monotonic() - since >= self._patience
        descriptors.close(sock)
        self._gone_since.pop(location, None)
        return False

    def _remove(self, entry: Entry) -> bool:
        current = self._storage.get(entry.name)
        if current is None or current.uri != entry.uri or not self._storage.remove(entry.name):
            return False
        _log().warning("%r was removed: nobody listens at %s", entry.name, entry.uri)
        return True


def _location_of(entry: Entry) -> Location | None:
    if entry.expires is not None:
        return None
    try:
        uri = URI(entry.uri)
    except PyroError:
        return None
    return uri.address if uri.protocol == "PYRO" else None


def _log() -> Any:
    from pyroipc import logs

    return logs.get("naming")
