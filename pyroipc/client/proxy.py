"""The proxy: stands for a remote object; its methods and attributes are those of the object."""

from __future__ import annotations

import os
from time import monotonic

from pyroipc.client.conversation import ID_MASK
from pyroipc.client.session import session_for
from pyroipc.context import context_in_use, current_context, running
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    DaemonError,
    ForkedConnectionError,
    ProtocolError,
    PyroError,
    SerializeError,
)
from pyroipc.protocol.calls import GET_ATTRIBUTE, SET_ATTRIBUTE, read_refusal
from pyroipc.settings import config
from pyroipc.wire.message import CORRELATION, DEADLINE, ERROR, RESPONSE, Message
from pyroipc.wire.native import JOIN_BYTES, pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence
    from inspect import Signature
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.settings import Settings

_DAEMON_NAME = "Pyro.Daemon"
_RESPONSE_FLAGS = ERROR | CORRELATION | DEADLINE


class RemoteMethod:
    """A method of a remote object, bound to its proxy; call it like a local one.

    It has the signature and the docstring of the remote method; they are fetched when somebody
    asks (``help``, ``inspect.signature``).
    """

    __slots__ = (
        "__name__",
        "__self__",
        "_codec",
        "_exchange",
        "_ids",
        "_object_id",
        "_session",
    )

    def __init__(self, proxy: Proxy, name: str, codec: CallCodec, session: Session) -> None:
        self.__self__ = proxy
        self.__name__ = name
        self._object_id = proxy._pyroObjectId
        self._codec = codec
        self._session = session
        self._ids = session.ids
        self._exchange = session.exchange

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote method and wait for its result.

        Raises:
            SerializeError: an argument cannot be encoded; for all others see
                :meth:`Proxy._pyroInvoke`.
        """
        if running.get() is not None or not self._session.is_open:
            return self.__self__._pyroInvoke(self.__name__, args, kwargs)
        codec = self._codec
        # Functions that are attributes of instances go through local variables on this path: the
        # interpreter (3.11) has a fast way to load an attribute, but not to call one of these.
        dumps_call, exchange, loads = codec.dumps_call, self._exchange, codec.loads
        try:
            payload = dumps_call(self._object_id, self.__name__, args, kwargs or None)
        except SerializeError as error:
            error.call_status = "not sent"
            raise
        n_bytes = len(payload)
        if n_bytes > JOIN_BYTES:
            return self.__self__._pyro_send_encoded(codec, payload)
        request_id = next(self._ids) & ID_MASK
        data = pack_header(codec.request_prefix, request_id, n_bytes) + payload
        message = exchange(request_id, data, None)
        if (
            message.flags
            or message.kind != RESPONSE
            or message.serializer_id != codec.serializer_id
            or type(message) is not Message
        ):
            return _result(codec, message)
        try:
            return loads(message.payload)
        except Exception as failure:
            raise codec.load_failed(failure) from failure

    # With __get__ and without __set__ this counts as a routine for help() and inspect.
    def __get__(self, instance: object, owner: type | None = None) -> RemoteMethod:
        return self

    @property
    def __signature__(self) -> Signature:
        from pyroipc.client.signatures import read_signature

        return read_signature(self.__self__._pyroDocumentation()["signatures"].get(self.__name__))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.__self__._pyroDocumentation()["docs"].get(self.__name__)

    def __repr__(self) -> str:
        return f"<remote method {self._object_id}.{self.__name__}>"


class _SpecialMethod(RemoteMethod):
    # A remote method that is called without waiting, or with a deadline.

    __slots__ = ()
    # Without this the class had a docstring of its own: None.
    __doc__ = RemoteMethod.__dict__["__doc__"]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote method; see :class:`Proxy` for the errors."""
        return self.__self__._pyroInvoke(self.__name__, args, kwargs)


class Proxy:
    """Stands for an object that a daemon hosts at the other end of a connected socket.

    Nothing is sent before the first use. Any thread may use a proxy, and N threads have N calls in
    flight on one connection; several proxies may share a socket.

    Args:
        uri: the id under which the object is registered.
        connected_socket: a connected stream socket. It stays the caller's and is never closed.
        settings: read once, now.

    Raises:
        TypeError: no socket or no str was given.

    Attributes whose names begin with ``_pyro`` are those of the proxy itself; all others are those
    of the remote object.
    """

    _pyroObjectId: str
    """The id of the remote object."""
    _pyroTimeout: float | None
    """Seconds that a whole call may take; None: as long as it takes."""
    _pyroMethods: frozenset[str]
    """Names of the remote methods, after the first use."""
    _pyroAttrs: frozenset[str]
    """Names of the remote attributes, after the first use."""

    def __init__(
        self,
        uri: str,
        connected_socket: socket.socket | None = None,
        *,
        settings: Settings = config,
    ) -> None:
        if not isinstance(uri, str) or connected_socket is None:
            raise TypeError("Proxy(name, connected_socket=sock): a str and a connected socket")
        if uri.upper().startswith(("PYRO:", "PYRONAME:", "PYROMETA:")):
            raise PyroError(f"with a connected socket give just the object's id, not {uri!r}")
        self._pyro_set_up(uri, settings, socket=connected_socket)

    @classmethod
    def _pyro_over(cls, session: Session, object_id: str, settings: Settings = config) -> Self:
        """Make a proxy over a session of this library's own."""
        proxy = cls.__new__(cls)
        proxy._pyro_set_up(object_id, settings, session=session)
        return proxy

    def _pyro_set_up(
        self,
        object_id: str,
        settings: Settings,
        *,
        socket: socket.socket | None = None,
        session: Session | None = None,
    ) -> None:
        self.__dict__.update(
            _pyroObjectId=object_id,
            _pyroTimeout=settings.COMMTIMEOUT or None,
            _pyroMethods=frozenset(),
            _pyroAttrs=frozenset(),
            _pyro_oneway=set(),
            _pyro_settings=settings,
            _pyro_serializer=None,
            _pyro_socket=socket,
            _pyro_session=session,
            _pyro_pid=os.getpid(),
            _pyro_known=False,
            _pyro_documentation={},
        )

    # --- remote members ------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_pyro", "__")) and name not in self._pyroMethods:
            raise AttributeError(name)
        self._pyroBind()
        if name in self._pyroMethods:
            method = self._pyro_method(name)
            self.__dict__[name] = method  # the next access does not come here
            return method
        if name in self._pyroAttrs:
            return self._pyroInvoke(GET_ATTRIBUTE, (name,), None)
        raise AttributeError(self._pyro_unknown(name))

    def _pyro_method(self, name: str) -> RemoteMethod:
        is_special = name in self._pyro_oneway or self._pyroTimeout is not None
        kind = _SpecialMethod if is_special else RemoteMethod
        return kind(self, name, self._pyro_codec(), self._pyro_session)

    def _pyro_unknown(self, name: str) -> str:
        exposed = ", ".join(sorted(self._pyroMethods | self._pyroAttrs)) or "nothing"
        return f"remote object {self._pyroObjectId!r} has no member {name!r}; exposed: {exposed}"

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_pyro"):
            if name == "_pyroSerializer":
                object.__setattr__(self, name, value)
            elif name in self.__dict__:
                self.__dict__[name] = value
                self._pyro_forget_methods()
            else:
                raise AttributeError(f"a proxy has no setting {name!r}")
            return
        self._pyroBind()
        if name not in self._pyroAttrs:
            raise AttributeError(self._pyro_unknown(name))
        self._pyroInvoke(SET_ATTRIBUTE, (name, value), None)

    def _pyro_forget_methods(self) -> None:
        for name in self._pyroMethods:
            self.__dict__.pop(name, None)

    @property
    def _pyroSerializer(self) -> str | None:
        """The serializer of this proxy; None: the one that the settings name.

        They name LOCAL_SERIALIZER for verified local channels and SERIALIZER for all others.
        """
        serializer: str | None = self._pyro_serializer
        return serializer

    @_pyroSerializer.setter
    def _pyroSerializer(self, name: str | None) -> None:
        if name is not None and self._pyro_session is not None and self._pyro_session.is_open:
            self._pyro_session.codecs.get(name)  # complain here and not in the next call
        self.__dict__["_pyro_serializer"] = name
        self._pyro_forget_methods()

    @property
    def _pyroOneway(self) -> set[str]:
        """Names of the methods that are called without waiting; may be added to."""
        self._pyro_forget_methods()
        oneway: set[str] = self._pyro_oneway
        return oneway

    # --- calls ---------------------------------------------------------------------------------

    def _pyro_codec(self) -> CallCodec:
        name = self._pyro_serializer
        if name is None:
            trusted = self._pyro_session.peer.trusted
            settings = self._pyro_settings
            name = settings.LOCAL_SERIALIZER if trusted else settings.SERIALIZER
        codec: CallCodec = self._pyro_session.codecs.get(name)
        return codec

    def _pyroInvoke(
        self,
        member: str,
        args: Sequence[Any],
        kwargs: dict[str, Any] | None,
        object_id: str | None = None,
    ) -> Any:
        """Call a member of the remote object with everything that the context asks for.

        Raises:
            CommunicationError: the conversation failed; the error says how far the call had come.
            ConnectionClosedError: the connection ended; PeerDiedError if the peer died.
            TimeoutError: the call took longer than ``_pyroTimeout``.
            SerializeError: an argument cannot be encoded, or the result cannot be decoded.
            Exception: what the remote method raised.
        """
        session = self._pyro_connected()
        timeout = self._pyroTimeout
        deadline = None if timeout is None else monotonic() + timeout
        try:
            session.open(deadline)
            codec = self._pyro_codec()
            payload = codec.dumps_call(object_id or self._pyroObjectId, member, args, kwargs)
        except CommunicationError as error:
            error.call_status = "not sent"
            raise
        request_id = session.next_id()
        oneway = member in self._pyro_oneway and object_id is None
        context = _outgoing()
        data = codec.request(
            request_id,
            payload,
            oneway=oneway,
            annotations=context[0],
            correlation_id=context[1],
            time_limit=timeout,
        )
        session.check_size(data)
        if oneway:
            session.post(data, deadline)
            return None
        message = session.exchange(request_id, data, deadline)
        return _result(codec, message)

    def _pyro_send_encoded(self, codec: CallCodec, payload: bytes) -> Any:
        """Send a call whose arguments are encoded already."""
        session: Session = self._pyro_session
        request_id = session.next_id()
        data = codec.request(request_id, payload)
        session.check_size(data)
        return _result(codec, session.exchange(request_id, data, None))

    def _pyro_connected(self) -> Session:
        if self._pyro_pid != os.getpid():
            raise ForkedConnectionError(
                f"the proxy for {self._pyroObjectId!r} was inherited through a fork, and its "
                "connection belongs to the parent process; make a new proxy on a socket of its own"
            )
        session: Session | None = self._pyro_session
        if session is None:
            if self._pyro_socket is None:
                raise ConnectionClosedError("this proxy is closed")
            session = session_for(self._pyro_socket, self._pyro_settings)
            session.retain(self)
            self.__dict__["_pyro_session"] = session
        return session

    def _pyroBind(self) -> bool:
        """Connect and learn what the object exposes, if that is not done yet; say if it was done.

        Raises:
            DaemonError: the daemon has no object of this id.
            PyroError: the object exposes nothing.
        """
        if self._pyro_known:
            return False
        session = self._pyro_connected()
        timeout = self._pyroTimeout
        session.open(None if timeout is None else monotonic() + timeout)
        if not session.await_objects():
            raise DaemonError("the other end of this socket hosts no objects: it has no daemon")
        facts = self._pyroInvoke("get_metadata", (self._pyroObjectId,), {}, _DAEMON_NAME)
        self._pyro_learn(facts)
        return True

    def _pyro_learn(self, facts: Mapping[str, Any]) -> None:
        """Take note of the members that the daemon names.

        Raises:
            PyroError: there are none.
        """
        names = {key: frozenset(facts[key]) for key in ("methods", "attrs", "oneway")}
        if not names["methods"] and not names["attrs"]:
            raise PyroError(
                f"remote object {self._pyroObjectId!r} exposes nothing: mark its members with "
                "@pyroipc.expose"
            )
        self.__dict__.update(
            _pyroMethods=names["methods"], _pyroAttrs=names["attrs"], _pyro_known=True
        )
        self._pyro_oneway.update(names["oneway"])

    def _pyroDocumentation(self) -> dict[str, dict[str, str]]:
        """Fetch signatures and docstrings of the members, once."""
        known: dict[str, dict[str, str]] = self.__dict__["_pyro_documentation"]
        if not known:
            known = self._pyroInvoke("get_documentation", (self._pyroObjectId,), {}, _DAEMON_NAME)
            self.__dict__["_pyro_documentation"] = known
        return known

    def _pyroRelease(self) -> None:
        """End the conversation, if no other proxy shares it; the next use opens a new one.

        The user's socket stays open.
        """
        session, self.__dict__["_pyro_session"] = self._pyro_session, None
        self.__dict__["_pyro_known"] = False
        self._pyro_forget_methods()
        if session is not None and self._pyro_pid == os.getpid():
            session.release(self)

    # --- manners -------------------------------------------------------------------------------

    def __dir__(self) -> Iterator[str]:
        try:
            self._pyroBind()
        except PyroError:
            pass  # completion must not fail because the peer is gone
        return iter({*super().__dir__(), *self._pyroMethods, *self._pyroAttrs})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._pyroRelease()

    def __repr__(self) -> str:
        session = self._pyro_session
        state = "connected" if session is not None and session.is_open else "not connected"
        return f"<pyroipc.Proxy at {id(self):#x}; {state}; for {self._pyroObjectId!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a proxy over a connected socket cannot be pickled: its socket is of this process"
        )


def _outgoing() -> tuple[Mapping[str, Any] | None, bytes | None]:
    """What the context of this thread adds to a request: annotations and a correlation id.

    Inside a call that a daemon runs, only the correlation id goes on to nested calls: the
    annotations of the request were meant for this end.
    """
    context = context_in_use()
    if context is None:
        return None, None
    if context.message is not None:
        return None, context.correlation_bytes
    context.response_annotations = {}
    return context.annotations or None, context.correlation_bytes


def _take_annotations(annotations: Mapping[str, Any] | None) -> None:
    """Show what came with an answer; not inside a call, where the field is for its own answer."""
    context = context_in_use()
    if context is None:
        if annotations:
            current_context.response_annotations = annotations
    elif context.message is None:
        context.response_annotations = annotations or {}


def _result(codec: CallCodec, message: Message) -> Any:
    if (
        message.kind != RESPONSE
        or message.flags & ~_RESPONSE_FLAGS
        or message.buffers
        or message.descriptors
    ):
        raise ProtocolError(f"the answer is not one that this version understands: {message!r}")
    _take_annotations(message.annotations)
    if message.serializer_id != codec.serializer.id:
        if message.serializer_id == 0 and message.flags & ERROR:
            raise read_refusal(message.payload)
        raise ProtocolError(
            f"the answer is encoded with serializer {message.serializer_id}, "
            f"the request was with {codec.serializer.id}"
        )
    if message.flags & ERROR:
        from pyroipc.protocol.remote_errors import load_error  # when first needed

        raise load_error(message.payload, codec.serializer)
    try:
        return codec.loads(message.payload)
    except Exception as failure:
        raise codec.load_failed(failure) from failure
