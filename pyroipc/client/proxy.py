"""The proxy: stands for a remote object; its methods and attributes are those of the object."""

from __future__ import annotations

import os

from pyroipc.client import references
from pyroipc.client.binding import Binding, named
from pyroipc.client.calling import invoke
from pyroipc.client.holds import Hold
from pyroipc.client.manners import T
from pyroipc.client.methods import OnewayMethod, RemoteMethod, SpecialMethod
from pyroipc.client.pyro import detection
from pyroipc.errors import PyroError
from pyroipc.protocol.calls import DAEMON_NAME, GET_ATTRIBUTE, SET_ATTRIBUTE
from pyroipc.serializers import table
from pyroipc.settings import config
from pyroipc.uri import URI
from pyroipc.wire.dialect import NATIVE
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar, Literal, Self

    from pyroipc.client.batch import BatchProxy, BatchResults
    from pyroipc.client.line import Line
    from pyroipc.client.session import Session
    from pyroipc.protocol.calls import CallCodec
    from pyroipc.settings import Settings
    from pyroipc.wire.message import Buffer

_NOTHING: Mapping[str, Buffer] = {}


class Proxy(Binding[T]):
    """Stands for an object that a daemon hosts.

    Nothing is sent before the first use. Any thread may use a proxy, and N threads have N calls in
    flight on its one connection. A proxy for an address connects when it is used, and again when
    it is used after the connection was lost, after it was released, and in a forked child.

    Args:
        uri: the URI that ``register`` returned, or its text; with a connected socket also just the
            id under which the object is registered.
        connected_socket: a connected stream socket, at whose other end the daemon is. It stays the
            caller's and is never closed; several proxies may share it.
        tls: encrypt what goes over TCP, and check the certificate of the server: an
            ``ssl.SSLContext``. None: as the setting SSL says; False: do not.
        hmac_key: what both ends have to know, in bytes or text. None: the setting HMAC_KEY.
        dialect: what the daemon speaks: ``"native"``, ``"pyro5"`` or ``"pyro4"``; ``"auto"``: find
            out when connecting, over a connected socket it means native. None: the setting
            DIALECT.
        settings: read once, now.

    Raises:
        TypeError: neither a str nor a URI was given.
        PyroError: the text is no URI, or that of an object behind a connected socket, without it.
        SecurityError: a file of certificates cannot be used.
        ValueError: there is no such dialect.

    Attributes whose names begin with ``_pyro`` are those of the proxy itself; all others are those
    of the remote object.
    """

    _pyroObjectId: str
    """The id of the remote object."""
    _pyroTimeout: float | None
    """Seconds that a whole call may take; None: as long as it takes."""
    _pyroMaxRetries: int
    """How often a method call is made again after the connection was lost or time ran out. The
    peer may run it more than once then: only for methods of which that does no harm."""
    _pyroHandshake: Any
    """What ``Daemon.validateHandshake`` is given when this proxy connects; any value that the
    serializer can send."""
    _pyroMethods: frozenset[str]
    """Names of the remote methods, after the first use."""
    _pyroAttrs: frozenset[str]
    """Names of the remote attributes, after the first use."""
    _pyro_base: ClassVar[type[Proxy[Any]]]
    """The class, or base, whose ``_pyroInvoke`` adds nothing to a call without a context."""

    def __init__(
        self,
        uri: str | URI,
        connected_socket: socket.socket | None = None,
        *,
        tls: ssl.SSLContext | Literal[False] | None = None,
        hmac_key: bytes | str | None = None,
        dialect: str | None = None,
        settings: Settings = config,
    ) -> None:
        self._pyro_check_class()
        if not isinstance(uri, str | URI):
            raise TypeError(f"a proxy takes a URI or its text, not {type(uri).__name__}")
        if connected_socket is not None:
            self._pyro_set_up(_object_id(uri), settings, socket=connected_socket)
            spoken = detection.chosen(dialect, settings)
            self.__dict__["_pyro_dialect"] = NATIVE if spoken == detection.AUTO else spoken
            return
        uri = URI(uri, ns_port=settings.NS_PORT)
        if uri.is_connected_socket:
            raise PyroError(f"{uri} can be reached over its socket only: give connected_socket=")
        from pyroipc.client.line import make_line

        self._pyro_set_up(
            named(uri), settings, line=make_line(uri, settings, tls, hmac_key, dialect)
        )
        self.__dict__["_pyro_address"] = str(uri)

    @classmethod
    def _pyro_over(cls, session: Session, object_id: str, settings: Settings = config) -> Self:
        """Make a proxy over a session of this library's own."""
        proxy = cls.__new__(cls)
        proxy._pyro_set_up(object_id, settings, session=session)
        return proxy

    @classmethod
    def _pyro_referring(cls, session: Session, object_id: str, class_key: int | None) -> Self:
        """Make a proxy for an object of the peer to which it has sent a reference."""
        proxy = cls._pyro_over(session, object_id)
        session.retain(proxy)
        if class_key is None:  # it is not one that was counted
            if not session.channel.owned:
                proxy.__dict__["_pyro_socket"] = session.channel.sock
            return proxy
        hold = Hold(session, object_id)
        proxy.__dict__.update(_pyro_hold=hold, _pyro_class_key=class_key)
        facts = session.references.metadata.get(class_key)
        if facts is not None:
            proxy._pyro_learn(facts)
        return proxy

    def _pyro_set_up(
        self,
        object_id: str,
        settings: Settings,
        *,
        socket: socket.socket | None = None,
        session: Session | None = None,
        line: Line | None = None,
    ) -> None:
        self.__dict__.update(
            _pyroObjectId=object_id,
            _pyroTimeout=settings.COMMTIMEOUT or None,
            _pyroMaxRetries=settings.MAX_RETRIES,
            _pyroHandshake="hello",
            _pyroMethods=frozenset(),
            _pyroAttrs=frozenset(),
            _pyro_oneway=set(),
            _pyro_settings=settings,
            _pyro_serializer=None,
            _pyro_dialect=NATIVE,
            _pyro_socket=socket,
            _pyro_session=session,
            _pyro_line=line,
            _pyro_pid=os.getpid(),
            _pyro_known=False,
            _pyro_facts=None,
            _pyro_class_key=None,
            _pyro_hold=None,
            _pyro_is_asynchronous=False,
            _pyro_documentation={},
        )

    # --- remote members ------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_pyro", "__")) and name not in self._pyroMethods:
            raise AttributeError(name)
        self._pyroBind()
        if name in self._pyroMethods:
            method = self._pyro_method(name)
            if self._pyro_is_asynchronous:
                from pyroipc.client.futures import AsynchronousMethod

                return AsynchronousMethod(method)
            self.__dict__[name] = method  # the next access does not come here
            return method
        if name in self._pyroAttrs:
            return self._pyroInvoke(GET_ATTRIBUTE, (name,), None)
        raise AttributeError(self._pyro_unknown(name))

    def _pyro_method(self, name: str) -> RemoteMethod:
        cls = type(self)
        plain = cls._pyro_base
        kind: type[RemoteMethod] = RemoteMethod
        if (
            self._pyroTimeout is not None
            or self._pyroMaxRetries
            or cls._pyroInvoke is not plain._pyroInvoke
            or cls._pyroAnnotations is not plain._pyroAnnotations
        ):
            kind = SpecialMethod
        elif name in self._pyro_oneway:
            kind = OnewayMethod
        owner = self
        if self._pyro_hold is not None or (self._pyro_line is not None and cls is plain):
            owner = self._pyro_speaker()
        session = self._pyro_connected()
        return kind(owner, name, self._pyro_codec(session), session)

    def _pyro_speaker(self) -> Self:
        """Return the twin to which the methods belong.

        They are attributes of the proxy. Were they to refer to it, it went only when the collector
        runs, and the peer had to keep its object, or the connection, for as long.
        """
        twin: Self | None = self.__dict__.get("_pyro_twin")
        if twin is None:
            twin = self.__dict__["_pyro_twin"] = self.__copy__()
            twin.__dict__.update(
                _pyro_oneway=self._pyro_oneway,
                _pyro_line=self._pyro_line,
                _pyro_session=self._pyro_session,
                _pyro_known=self._pyro_known,
                _pyro_facts=self._pyro_facts,
            )
        return twin

    def _pyro_unknown(self, name: str) -> str:
        exposed = ", ".join(sorted(self._pyroMethods | self._pyroAttrs)) or "nothing"
        return f"remote object {self._pyroObjectId!r} has no member {name!r}; exposed: {exposed}"

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_pyro"):
            if name in _PROPERTIES:
                object.__setattr__(self, name, value)
            elif name in self.__dict__:
                self.__dict__[name] = _CHECKS[name](value) if name in _CHECKS else value
                self._pyro_forget_methods()
            else:
                raise AttributeError(f"a proxy has no setting {name!r}")
            return
        if name.startswith("__"):  # such as the __orig_class__ of Proxy[...](...)
            object.__setattr__(self, name, value)
            return
        self._pyroBind()
        if name not in self._pyroAttrs:
            raise AttributeError(self._pyro_unknown(name))
        self._pyroInvoke(SET_ATTRIBUTE, (name, value), None)

    def _pyro_forget_methods(self) -> None:
        for name in self._pyroMethods:
            self.__dict__.pop(name, None)
        self.__dict__.pop("_pyro_twin", None)

    def _pyro_forget(self) -> None:
        """Take note that the conversation has ended in which this proxy was received."""
        self.__dict__["_pyro_known"] = False
        self._pyro_forget_methods()

    @property
    def _pyroSerializer(self) -> str | None:
        """The serializer of this proxy; None: the one that the settings name.

        They name LOCAL_SERIALIZER for verified local channels and SERIALIZER for all others.
        """
        serializer: str | None = self._pyro_serializer
        return serializer

    @_pyroSerializer.setter
    def _pyroSerializer(self, name: str | None) -> None:
        if name is not None:  # complain here and not in the next call
            table.id_of(name)
            if self._pyro_session is not None and self._pyro_session.is_open:
                self._pyro_session.codecs.get(name)
        self.__dict__["_pyro_serializer"] = name
        self._pyro_forget_methods()

    @property
    def _pyroOneway(self) -> set[str]:
        """Names of the methods that are called without waiting; may be added to."""
        self._pyro_forget_methods()
        oneway: set[str] = self._pyro_oneway
        return oneway

    # --- calls ---------------------------------------------------------------------------------

    def _pyro_codec(self, session: Session) -> CallCodec:
        name = self._pyro_serializer
        if name is None:
            name = session.codecs.default(self._pyro_settings)
        return session.codecs.get(name)

    def _pyroInvoke(
        self,
        methodname: str,
        vargs: Sequence[Any],
        kwargs: dict[str, Any] | None,
        flags: int = 0,
        objectId: str | None = None,
    ) -> Any:
        """Call a member of the remote object with everything that the context asks for.

        Args:
            methodname: the member; may be overridden in a subclass to see every call.
            vargs: positional arguments.
            kwargs: keyword arguments; None: an attribute is read or written.
            flags: of the message; see :mod:`pyroipc.wire.message`.
            objectId: another object of the same daemon.

        Raises:
            CommunicationError: the conversation failed; the error says how far the call had come.
            ConnectionClosedError: the connection ended; PeerDiedError if the peer died.
            TimeoutError: the call took longer than ``_pyroTimeout``.
            SerializeError: an argument cannot be encoded, or the result cannot be decoded.
            Exception: what the remote method raised.
        """
        if objectId is None and methodname in self._pyro_oneway:
            flags |= ONEWAY
        return invoke(self, methodname, vargs, kwargs, flags, objectId)

    def _pyroInvokeBatch(self, calls: list[Any], oneway: bool = False) -> BatchResults | None:  # noqa: FBT001, FBT002 - as in Pyro
        """Make many calls with one request.

        Args:
            calls: tuples of a name, positional arguments, and keyword arguments or None.
            oneway: do not wait for results.

        Returns:
            The results in order; None with ``oneway``.

        Raises:
            CommunicationError: as :meth:`_pyroInvoke`.
        """
        from pyroipc.client.batch import invoke_batch

        return invoke_batch(self, calls, oneway=oneway)

    def _pyroAnnotations(self) -> Mapping[str, Buffer]:
        """Return what to add to the annotations of every request; to be overridden."""
        return _NOTHING

    def _pyroResponseAnnotations(self, annotations: Mapping[str, Buffer], msgtype: int) -> None:
        """Take the annotations of an answer, if it has any; to be overridden."""

    def _pyroValidateHandshake(self, response: Any) -> None:
        """Look at what ``Daemon.validateHandshake`` returned; to be overridden.

        What it raises ends the conversation, and whoever used the proxy sees it.
        """

    def _pyroBatch(self) -> BatchProxy:
        """Return an object that collects calls, to be sent together."""
        from pyroipc.client.batch import BatchProxy

        return BatchProxy(self)

    def _pyroAsync(self, asynchronous: bool = True) -> None:  # noqa: FBT001, FBT002 - Pyro's
        """From now on have method calls return a ``FutureResult`` at once, or not any more."""
        self._pyro_forget_methods()
        self.__dict__["_pyro_is_asynchronous"] = asynchronous

    def _pyroDocumentation(self) -> dict[str, dict[str, str]]:
        """Fetch signatures and docstrings of the members, once."""
        known: dict[str, dict[str, str]] = self.__dict__["_pyro_documentation"]
        if not known:
            known = self._pyroInvoke(
                "get_documentation", (self._pyroObjectId,), {}, 0, DAEMON_NAME
            )
            self.__dict__["_pyro_documentation"] = known
        return known


def _seconds(value: Any) -> float | None:
    """Return a time-out as it is kept; 0 means none, as in the setting COMMTIMEOUT.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or no number at all.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"_pyroTimeout is a number of seconds or None, not {value!r:.100}")
    if not value >= 0:
        raise ValueError(f"_pyroTimeout cannot be {value!r}; None means as long as it takes")
    return float(value) or None


def _count(value: Any) -> int:
    """Return a number of retries.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is negative.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"_pyroMaxRetries is a whole number, not {value!r:.100}")
    if value < 0:
        raise ValueError(f"_pyroMaxRetries cannot be {value}")
    return value


_PROPERTIES = frozenset({"_pyroHmacKey", "_pyroSerializer"})
_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "_pyroTimeout": _seconds,
    "_pyroMaxRetries": _count,
}


def _object_id(uri: str | URI) -> str:
    """Return the object id that a str or a URI for a connected socket names.

    Raises:
        PyroError: it is the URI of something else.
    """
    if isinstance(uri, str):
        if not uri.upper().startswith(("PYRO:", "PYRONAME:", "PYROMETA:")):
            return uri
        uri = URI(uri)
    if not uri.is_connected_socket or not isinstance(uri.object, str):
        raise PyroError(f"with a connected socket give just the object's id, not '{uri}'")
    return uri.object


Proxy._pyro_base = Proxy
references.make_proxy = Proxy._pyro_referring
references.make_address_proxy = Proxy
