"""``current_context``: what is known about the call that is running, or about to be made.

Inside a method that a daemon calls, it tells about the request: who called, with which
annotations, under which correlation id. In a client, ``annotations`` and ``correlation_id`` are
what the next calls carry, and ``response_annotations`` is what came with the last answer.

It belongs to the thread, or to the asyncio task, that reads it (a ``contextvars.ContextVar``).
A call starts with a fresh context and leaves nothing behind for the next one.
"""

from __future__ import annotations

from contextvars import ContextVar

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from pyroipc.wire.message import Buffer, Message


class CallContext:
    """The facts of one call, or of the calls that a client is about to make."""

    __slots__ = (
        "annotations",
        "client",
        "correlation_bytes",
        "message",
        "response_annotations",
    )

    def __init__(self, message: Message | None = None, client: Any = None) -> None:
        self.message = message
        self.client = client
        self.annotations: Mapping[str, Buffer] = {}
        self.response_annotations: Mapping[str, Buffer] = {}
        self.correlation_bytes: bytes | None = None
        if message is not None:
            self.annotations = message.annotations or {}
            self.correlation_bytes = message.correlation_id


running: ContextVar[CallContext | tuple[Message, Any] | None] = ContextVar(
    "pyroipc_call", default=None
)
"""The context of this thread or task. A daemon stores just the message and its connection; they
become a CallContext when somebody asks."""


def context_in_use() -> CallContext | None:
    """Return the context if there is one, without making it."""
    value = running.get()
    if type(value) is tuple:
        value = CallContext(*value)
        running.set(value)
    return value  # type: ignore[return-value]


def _context() -> CallContext:
    value = context_in_use()
    if value is None:
        value = CallContext()
        running.set(value)
    return value


class _CurrentContext:
    """The object behind ``pyroipc.current_context``; any thread or task sees its own call."""

    __slots__ = ()

    @property
    def client(self) -> Any:
        """The connection over which the running call came, or None outside of a call."""
        context = context_in_use()
        return None if context is None else context.client

    @property
    def client_sock_addr(self) -> object:
        """The address of the caller: a tuple for TCP, "" for unix sockets and pairs, or None."""
        client = self.client
        return None if client is None else client.peer.address

    @property
    def seq(self) -> int:
        """The id of the running request, or 0."""
        message = self._message()
        return 0 if message is None else message.request_id

    @property
    def msg_flags(self) -> int:
        """The flags of the running request, or 0."""
        message = self._message()
        return 0 if message is None else message.flags

    @property
    def serializer_id(self) -> int:
        """The id of the serializer of the running request, or 0."""
        message = self._message()
        return 0 if message is None else message.serializer_id

    @property
    def time_limit(self) -> float | None:
        """Seconds that the caller gave to the running call when it sent it, or None."""
        message = self._message()
        return None if message is None else message.time_limit

    @property
    def annotations(self) -> Mapping[str, Buffer]:
        """Four-letter id to bytes: what came with the request; in a client, what to send."""
        return _context().annotations

    @annotations.setter
    def annotations(self, value: Mapping[str, Buffer]) -> None:
        _context().annotations = value

    @property
    def response_annotations(self) -> Mapping[str, Buffer]:
        """What to send with the answer; in a client, what came with the last one."""
        return _context().response_annotations

    @response_annotations.setter
    def response_annotations(self, value: Mapping[str, Buffer]) -> None:
        _context().response_annotations = value

    @property
    def correlation_id(self) -> UUID | None:
        """The id that ties together all calls of one origin; nested calls inherit it.

        A call of a client that is Pyro has one in any case, as there: if none was sent, it is made
        when somebody asks for it.

        Raises:
            TypeError: when assigned something that is neither a ``uuid.UUID`` nor None.
        """
        context = context_in_use()
        if context is None:
            return None
        data = context.correlation_bytes
        if data is None and (context.client is None or not context.client.is_pyro):
            return None
        from uuid import UUID, uuid4

        if data is None:
            data = context.correlation_bytes = uuid4().bytes
        return UUID(bytes=data)

    @correlation_id.setter
    def correlation_id(self, value: UUID | None) -> None:
        data = getattr(value, "bytes", None)
        if value is not None and (not isinstance(data, bytes) or len(data) != 16):
            raise TypeError(f"a correlation id is a uuid.UUID, not {type(value).__name__}")
        _context().correlation_bytes = data

    @property
    def daemon(self) -> Any:
        """The daemon that serves the running call, or None outside of a call."""
        client = self.client
        return None if client is None else client.daemon

    def track_resource(self, resource: Any) -> None:
        """Have ``resource.close()`` called when the client of the running call is gone.

        It is held weakly: what nobody else holds is forgotten. The order is arbitrary.

        Raises:
            PyroError: no call is running.
        """
        self._client("track").tracked_resources.add(resource)

    def untrack_resource(self, resource: Any) -> None:
        """Forget a tracked resource, for instance because it was closed.

        Raises:
            PyroError: no call is running.
        """
        self._client("untrack").tracked_resources.discard(resource)

    def _client(self, what: str) -> Any:
        client = self.client
        if client is None:
            raise PyroError(
                f"cannot {what} a resource: there is no client, for no remote call is running"
            )
        return client

    def to_global(self) -> CallContext | None:
        """Return the context of this thread, to be given to ``from_global`` in another one."""
        return context_in_use()

    def from_global(self, values: CallContext | None) -> None:
        """Work in the context of another thread from now on."""
        running.set(values)

    @staticmethod
    def _message() -> Message | None:
        context = context_in_use()
        return None if context is None else context.message


current_context = _CurrentContext()
