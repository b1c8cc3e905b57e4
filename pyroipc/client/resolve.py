"""Names into addresses: a PYRONAME or PYROMETA URI into the PYRO URI of an object.

The connections to name servers are kept: the next name is then looked up in one round trip. There
is one for each place that names were looked up at, with the settings that they were looked up
with; any thread uses it, and a forked child makes its own.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

import random
import threading
from time import monotonic

from pyroipc.client import lookups, references, sharing
from pyroipc.client.search import Search, uri_of
from pyroipc.errors import CommunicationError, NamingError, TimeoutError
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from pyroipc.settings import Settings

    R = TypeVar("R")
    Key: TypeAlias = tuple[str | None, str]

__all__ = ["forget_name_servers", "resolve", "wait_for"]

_KEPT_MAX = 16
_HOPS_MAX = 8
"""A name may stand for another name, but not without an end."""
_LEAST_PAUSE = 0.2

_kept: dict[Key, Any] = {}
_lock = threading.Lock()


def resolve(
    uri: URI, settings: Settings, deadline: float | None = None, delay: float | None = None
) -> URI:
    """Return the URI that leads to an object.

    Args:
        uri: any URI; one that leads there already is returned.
        settings: say where the name server is, and how to connect to it.
        deadline: absolute, by the monotonic clock; None: none.
        delay: how long to wait for a name that is not registered yet, in seconds; None:
            NS_LOOKUP_DELAY.

    Raises:
        NamingError: the name is not known, or no name server was found.
        TimeoutError: the name server was found, but did not answer in time.
        CommunicationError: the connection to it broke twice.
    """
    seen: list[URI] = []
    while uri.protocol != "PYRO":
        if uri in seen or len(seen) >= _HOPS_MAX:
            raise NamingError(
                f"{seen[0]} leads nowhere: one name stands for another, "
                f"{' -> '.join(map(str, seen))} -> {uri}; register the URI of the object itself"
            )
        seen.append(uri)
        uri = _resolve_once(uri, settings, deadline, delay)
    if uri.address is None:
        raise NamingError(
            f"{uri} cannot be reached from here: the object is behind a connected socket"
        )
    return uri


def _resolve_once(
    uri: URI, settings: Settings, deadline: float | None, delay: float | None
) -> URI:
    target = uri.object
    if isinstance(target, str):
        name: str = target

        def attempt() -> Any:
            return _ask(uri, settings, deadline, lambda proxy: lookups.look_up(proxy, name))

    else:
        tags = sorted(target)

        def find(proxy: Any) -> Any:
            return lookups.tagged_names(proxy, tags, None, with_tags=False)

        def attempt() -> Any:
            return _choose(_ask(uri, settings, deadline, find), tags)

    patience = settings.NS_LOOKUP_DELAY if delay is None else delay
    return _as_uri(wait_for(attempt, patience, deadline), uri)


def _as_uri(found: object, asked: URI) -> URI:
    if not isinstance(found, str | URI):
        raise NamingError(f"the name server gave no URI for {asked}, but {found!r:.100}")
    return uri_of(str(found))


def _choose(found: dict[str, Any], tags: list[str]) -> Any:
    """Return one of the URIs that were found, any of them.

    Raises:
        NamingError: there is none.
    """
    if not found:
        raise NamingError(f"no registrations available with desired metadata properties {tags}")
    return random.choice(list(found.values()))  # noqa: S311 - it spreads the load, and no more


def wait_for(attempt: Callable[[], R], patience: float, deadline: float | None = None) -> R:
    """Try until something does not raise NamingError, or time is up.

    Args:
        attempt: what to try; TimeoutError does not end it either.
        patience: seconds; 0: try once.
        deadline: absolute, by the monotonic clock; None: none.

    Raises:
        NamingError: that of the last attempt.
        TimeoutError: so is this.
    """
    start = monotonic()
    end = start + patience if deadline is None else min(start + patience, deadline)
    pause = max(_LEAST_PAUSE, patience / 5)
    while True:
        try:
            return attempt()
        except (NamingError, TimeoutError):
            rest = end - monotonic()
            if rest <= 0:
                raise
        threading.Event().wait(min(pause, rest))


# --- the connections that are kept -------------------------------------------------------------


def _ask(
    uri: URI, settings: Settings, deadline: float | None, question: Callable[[Any], Any]
) -> Any:
    """Put a question to the name server that a URI means.

    Raises:
        NamingError: it is not known, or there is no name server.
        CommunicationError: there was one, but no longer.
        TimeoutError: it did not answer in time.
    """
    key = uri.location, repr(settings.as_dict())
    proxy = _kept.get(key)
    if proxy is not None:
        try:
            return _put(question, proxy, deadline)
        except TimeoutError:
            # The next name is looked up at another one, if there is one. Without this the
            # connection would stay until the late answer has come, if ever.
            _forget(key, proxy)
            proxy._pyroRelease()
            raise
        except CommunicationError:
            # It has ended, or moved. A lookup does no harm if it is made twice.
            _forget(key, proxy)
    search = Search(references.make_address_proxy, settings, deadline)
    proxy = search.anywhere() if uri.address is None else search.at(uri.address)
    _keep(key, proxy)
    return _put(question, proxy, deadline)


def _put(question: Callable[[Any], Any], proxy: Any, deadline: float | None) -> Any:
    """Put a question to a name server, with a time limit for each call of it."""
    if deadline is not None:
        twin = proxy.__copy__()
        twin.__dict__["_pyro_line"] = proxy._pyro_line  # it shares the connection
        twin._pyroTimeout = max(0.001, deadline - monotonic())
        proxy = twin
    return question(proxy)


def _keep(key: Key, proxy: Any) -> None:
    with _lock:
        # What is replaced, by another thread that was looking as well, may be in use just now.
        # The connection of a proxy is closed when nobody has it any more.
        while len(_kept) >= _KEPT_MAX:
            del _kept[next(iter(_kept))]
        _kept[key] = proxy


def _forget(key: Key, proxy: Any) -> None:
    with _lock:
        if _kept.get(key) is proxy:
            del _kept[key]


def forget_name_servers() -> None:
    """Close the connections to name servers; the next name that is looked up makes a new one."""
    with _lock:
        going = list(_kept.values())
        _kept.clear()
    for proxy in going:
        proxy._pyroRelease()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


sharing.after_fork.append(_after_fork_in_child)
