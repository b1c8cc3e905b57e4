"""Calls of objects by their names, and answers that tell how they went."""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from pyroipc.errors import (
    DaemonError,
    NamingError,
    PyroError,
    SerializeError,
    TimeoutError,
)
from pyroipc.gateway import responses
from pyroipc.gateway.page import Shown
from pyroipc.gateway.plain import described_failure, json_bytes
from pyroipc.gateway.routes import Call
from pyroipc.protocol.calls import GET_ATTRIBUTE
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol, Self

    from pyroipc.gateway.names import ExposedNames
    from pyroipc.gateway.proxies import Access, NameServer, PlainProxy, Pool
    from pyroipc.gateway.responses import Phase, Response
    from pyroipc.gateway.routes import Meta

    class Items(Protocol):
        """What a remote iterator is, whatever dialect its daemon speaks."""

        def __iter__(self) -> Iterator[Any]: ...

        def __next__(self) -> Any: ...

        def __enter__(self) -> Self: ...

        def __exit__(self, *exc: Any) -> None: ...

        def close(self) -> None:
            """Let it go."""


__all__ = ["Bounds", "Caller"]

_SECONDS_OF_OBJECT = 1.0
_SECONDS_OF_PAGE = 3.0


class Bounds(NamedTuple):
    """How much an answer may hold, and tell."""

    items: int
    """Items of an iterator in one JSON array."""
    size_bytes: int
    """What they may take together."""
    seconds: float
    """How long they may take; 0: as long as it takes."""
    tracebacks: bool
    """Whether remote tracebacks are told."""


class Caller:
    """Finds objects and calls them.

    Args:
        name_server: knows where they are.
        pool: lends proxies.
        access: how daemons are spoken to.
        bounds: of the answers.
    """

    def __init__(
        self, name_server: NameServer, pool: Pool, access: Access, bounds: Bounds
    ) -> None:
        self._name_server = name_server
        self._pool = pool
        self._access = access
        self._bounds = bounds

    def respond(self, step: Meta | Call) -> Response:
        """Call a method, read an attribute, or tell what an object exposes."""
        phase: Phase = "name"
        try:
            uri = self._name_server.lookup(self._access, step.name)
            phase = "connect"
            proxy = self._pool.take(self._access, uri)
        except PyroError as error:
            return self._failure(error, phase)

        def release() -> None:
            self._pool.give_back(self._access, uri, proxy)

        response = None
        try:
            response = self._with_proxy(step, proxy, release)
            return response
        finally:
            if response is None:
                proxy._pyroRelease()  # who knows what its call has come to
            elif not response.is_stream:
                release()

    def _with_proxy(
        self, step: Meta | Call, proxy: PlainProxy, release: Callable[[], None]
    ) -> Response:
        try:
            is_new = proxy._pyroBind()
            if isinstance(step, Call) and not (is_new or _has(proxy, step.member)):
                proxy._pyroRelease()  # what it exposes may have changed since it was told
                proxy._pyroBind()
        except Exception as error:  # noqa: BLE001 - a proxy raises what a peer has sent
            return self._failure(error, "connect")
        if not isinstance(step, Call):
            return responses.json_value({
                "methods": sorted(proxy._pyroMethods),
                "attributes": sorted(proxy._pyroAttrs),
            })
        if step.member in proxy._pyroMethods:
            return self._call_method(step, proxy, release)
        if step.member in proxy._pyroAttrs:
            return self._get_attribute(step, proxy)
        return responses.failure(404, AttributeError(proxy._pyro_unknown(step.member)))

    def _get_attribute(self, step: Call, proxy: PlainProxy) -> Response:
        if step.arguments:
            error = AssertionError("attribute lookup can't have query parameters")
            return responses.failure(400, error)
        try:
            value = proxy._pyroInvoke(GET_ATTRIBUTE, (step.member,), None)
        except Exception as failure:  # noqa: BLE001 - whatever a remote object has raised
            return self._failed_call(failure, proxy)
        return self._result(value)

    def _call_method(self, step: Call, proxy: PlainProxy, release: Callable[[], None]) -> Response:
        flags = ONEWAY if step.oneway else 0
        try:
            value = proxy._pyroInvoke(step.member, (), step.arguments, flags)
            if flags or step.member in proxy._pyroOneway:
                return responses.empty()
            if hasattr(value, "__next__"):  # the only values that are not plain
                if step.streamed:
                    made = Lines(value, release, traceback=self._bounds.tracebacks)
                    return responses.lines(made)
                value = self._items(value)
        except _TooManyItemsError as error:
            return responses.failure(406, ValueError(str(error)))
        except Exception as failure:  # noqa: BLE001 - whatever a remote method has raised
            return self._failed_call(failure, proxy)
        return self._result(value)

    def _result(self, value: object) -> Response:
        try:
            return responses.json_value(value)
        except SerializeError as error:  # the call went well, and its result is no JSON
            return responses.failure(500, error)

    def _items(self, iterator: Items) -> list[Any]:
        """Return the items of an iterator.

        Raises:
            TimeoutError: they take longer than a call may take.
            _TooManyItemsError: they are more than fit into an answer.
            Exception: what the iterator has raised.
        """
        seconds = self._bounds.seconds
        end = monotonic() + seconds if seconds else None
        room = self._bounds.size_bytes
        items: list[Any] = []
        with iterator:
            for item in iterator:
                room -= len(json_bytes(item))
                if len(items) >= self._bounds.items or room < 0:
                    raise _TooManyItemsError(
                        f"the iterator has more than fits into one answer ({self._bounds.items} "
                        f"items, {self._bounds.size_bytes} bytes); have 'Accept: "
                        "application/x-ndjson' in the request, and get them one by one"
                    )
                items.append(item)
                if end is not None and monotonic() > end:
                    raise TimeoutError(f"the iterator did not end within {seconds:g} seconds")
        return items

    def _failed_call(self, error: Exception, proxy: PlainProxy) -> Response:
        phase: Phase = "call"
        if isinstance(error, TimeoutError):
            proxy._pyroRelease()  # the next call must not wait for the end of this one
        if isinstance(error, DaemonError):  # a method has raised it, or the object is gone
            try:
                proxy._pyroRelease()
                proxy._pyroBind()
            except DaemonError:
                phase = "connect"
            except PyroError:
                pass
        return self._failure(error, phase)

    def _failure(self, error: BaseException, phase: Phase) -> Response:
        status = responses.status_of(error, phase)
        return responses.failure(status, error, traceback=self._bounds.tracebacks)

    # --- what there is -------------------------------------------------------------------------

    def names(self, exposed: ExposedNames) -> list[str]:
        """Return the names of all objects that are exposed, sorted.

        Raises:
            NamingError: there is no name server.
            CommunicationError: it does not answer.
        """
        try:
            found = self._name_server.list(self._access, exposed.pattern)
        except NamingError as error:
            if not hasattr(error, "_pyroTraceback"):
                raise
            found = self._name_server.list(self._access, None)  # the pattern is too much for it
        return sorted(name for name in found if name in exposed)

    def shown(self, names: list[str]) -> list[Shown]:
        """Return what the home page shows of objects, without waiting for long."""
        end = monotonic() + _SECONDS_OF_PAGE
        return [self._shown(name, end) for name in names]

    def _shown(self, name: str, end: float) -> Shown:
        seconds = min(_SECONDS_OF_OBJECT, end - monotonic())
        if seconds <= 0:
            return Shown(name, problem="not asked: the others took too long")
        try:
            uri = self._name_server.lookup(self._access, name)
            proxy = self._pool.take(self._access, uri)
            usual, proxy._pyroTimeout = proxy._pyroTimeout, seconds
            try:
                proxy._pyroBind()
            finally:
                proxy._pyroTimeout = usual
                self._pool.give_back(self._access, uri, proxy)
        except Exception as error:  # noqa: BLE001 - a proxy raises what a peer has sent
            return Shown(name, problem=f"{type(error).__name__}: {error}")
        return Shown(name, sorted(proxy._pyroMethods), sorted(proxy._pyroAttrs))


def _has(proxy: PlainProxy, member: str) -> bool:
    return member in proxy._pyroMethods or member in proxy._pyroAttrs


class _TooManyItemsError(Exception):
    """An iterator has more items than fit into one answer."""


class Lines:
    """The body of an answer with one line for each item of an iterator.

    The first item is fetched at once, so that what goes wrong at the beginning has a status. What
    goes wrong later is told in the last line, as an exception.

    Args:
        iterator: what has the items.
        release: called when it is not needed any more.
        traceback: whether that line also tells the remote traceback.

    Raises:
        Exception: what the iterator raised at once.
    """

    def __init__(self, iterator: Items, release: Callable[[], None], *, traceback: bool) -> None:
        self._iterator = iterator
        self._release = release
        self._traceback = traceback
        self._is_closed = False
        self._has_failed = False
        self._first = [json_bytes(item) + b"\n" for item in _first_of(iterator)]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            return self._first.pop()
        if self._has_failed:
            raise StopIteration
        try:
            return json_bytes(next(self._iterator)) + b"\n"
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a remote iterator has raised
            self._has_failed = True
            return json_bytes(described_failure(error, traceback=self._traceback)) + b"\n"

    def close(self) -> None:
        """Close the iterator, and give the proxy back."""
        if not self._is_closed:
            self._is_closed = True
            self._iterator.close()
            self._release()


def _first_of(iterator: Items) -> Iterator[Any]:
    for item in iterator:
        yield item
        return
