"""How a proxy gets to its object: connecting, introducing itself, learning, and letting go.

A proxy *binds* when a member is first used: it connects, gives the daemon its handshake, and
learns which members the object exposes. What it has learned holds as long as the connection; after
the next one it is learned anew, because the daemon may be another one by then.
"""

# ruff: noqa: N802 - Pyro's names, where users type them

from __future__ import annotations

import os
from threading import Event
from time import monotonic

from pyroipc.client.calling import is_worth_a_retry, pauses
from pyroipc.client.manners import Manners, T
from pyroipc.client.requests import encode_request, read_result
from pyroipc.client.sockets import session_for
from pyroipc.errors import (
    CommunicationError,
    ConnectionClosedError,
    DaemonError,
    ForkedConnectionError,
    ProtocolError,
    PyroError,
    TimeoutError,
)
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.client.line import Line
    from pyroipc.client.session import Session
    from pyroipc.uri import URI

_RETRY_SECONDS = 2.0


class Binding(Manners[T]):
    """The base of proxies that connects them."""

    _pyro_line: Line | None
    """Leads to an address; None: the connection is a socket of the user's, or somebody else's."""

    def _pyro_check_class(self) -> None:
        """Refuse a key that is an attribute of the class, where nobody would use it.

        Raises:
            PyroError: there is one.
        """
        if not isinstance(type(self)._pyroHmacKey, property):  # noqa: SLF001
            raise PyroError(
                f"{type(self).__name__}._pyroHmacKey is not used: give the key to each proxy "
                "(hmac_key=, or its attribute _pyroHmacKey), or set HMAC_KEY for all"
            )

    def _pyro_connected(self, deadline: float | None = None) -> Session:
        """Return the session; of a proxy for an address, connect if need be.

        Raises:
            ConnectError: nobody answers at the address, or not as a daemon does.
            ConnectionClosedError: the proxy is closed.
            ForkedConnectionError: it was inherited through a fork, and is not for an address.
        """
        line = self._pyro_line
        if line is not None:
            session = line.session
            if session is None or not session.is_open:
                session = line.connected(self, deadline)
            self.__dict__["_pyro_session"] = session
            return session
        if self._pyro_pid != os.getpid():
            raise ForkedConnectionError(
                f"the proxy for {self._pyroObjectId!r} was inherited through a fork, and its "
                "connection belongs to the parent process; make a new proxy on a socket of its own"
            )
        if self._pyro_hold is not None:
            self._pyro_hold.check()
        shared: Session | None = self._pyro_session
        if shared is None:
            if self._pyro_socket is None:
                raise ConnectionClosedError("this proxy is closed")
            shared = session_for(self._pyro_socket, self._pyro_settings, self._pyro_dialect)
            shared.retain(self)
            self.__dict__["_pyro_session"] = shared
        return shared

    def _pyroBind(self) -> bool:
        """Connect and learn what the object exposes, if that is not done yet; say if it was done.

        Raises:
            CommunicationError: that failed; ConnectError if nobody answers at the address.
            DaemonError: the daemon has no object of this id.
            PyroError: the object exposes nothing.
        """
        line = self._pyro_line
        if line is not None:
            return self._pyro_bind_repeatedly(line)
        if self._pyro_known:
            return False
        deadline = self._pyro_deadline()
        session = self._pyro_connected(deadline)
        session.open(deadline)
        if self._pyro_class_key is None:
            if not session.await_objects():
                raise DaemonError("the other end of this socket hosts no objects: no daemon")
            self._pyro_learn(self._pyro_connect(session, deadline))
        else:  # of an object to which the peer sent a reference: so it hosts this one
            args = (self._pyroObjectId,)
            facts = self._pyroInvoke("get_metadata", args, {}, 0, DAEMON_NAME)
            session.references.metadata[self._pyro_class_key] = facts
            self._pyro_learn(facts)
        return True

    def _pyro_bind_repeatedly(self, line: Line) -> bool:
        """Bind as often as ``_pyroMaxRetries`` allows, since a call begins with this.

        Raises:
            CommunicationError: as ``_pyroBind``.
        """
        for pause in pauses(self):
            try:
                return self._pyro_bind_to(line)
            except CommunicationError as error:
                if not is_worth_a_retry(error):
                    raise
            Event().wait(pause)
        return self._pyro_bind_to(line)

    def _pyro_bind_to(self, line: Line) -> bool:
        """Do what ``_pyroBind`` does where the object has an address.

        Raises:
            CommunicationError: as there.
            DaemonError: as there.
            PyroError: as there.
        """
        if line.is_up and self._pyro_facts is line.facts:
            return False
        self._pyro_connected(self._pyro_deadline())
        facts = line.facts
        if facts is not None and self._pyro_facts is not facts:  # as another thread was told
            self._pyro_take(line, facts)
        return True

    def _pyro_take(self, line: Line, facts: Mapping[str, Any]) -> None:
        """Take note of what was said when the line was connected."""
        if line.resolved is not None:
            self.__dict__["_pyroObjectId"] = named(line.resolved)
        self._pyro_learn(facts)
        self.__dict__["_pyro_facts"] = facts

    def _pyro_deadline(self) -> float | None:
        timeout: float | None = self._pyroTimeout
        return None if timeout is None else monotonic() + timeout

    def _pyro_connect(self, session: Session, deadline: float | None) -> Mapping[str, Any]:
        """Introduce this proxy to the daemon; return the metadata of the object.

        Raises:
            CommunicationError: the daemon refuses.
            DaemonError: it has no such object.
            ProtocolError: its answer makes no sense.
            Exception: what ``_pyroValidateHandshake`` raised.
        """
        if session.dialect != NATIVE:
            from pyroipc.client.pyro.introducing import introduce

            return introduce(self, session, self._pyroObjectId, deadline)  # type: ignore[arg-type]
        try:
            answer = self._pyroInvoke(
                "connect", (self._pyroObjectId, self._pyroHandshake), {}, 0, DAEMON_NAME
            )
            return self._pyro_welcomed(answer)
        except DaemonError:
            raise
        except Exception:
            self._pyroRelease()
            raise

    def _pyro_welcomed(self, answer: Any) -> Mapping[str, Any]:
        """Look at what a daemon says to a proxy that connects; return the metadata.

        Raises:
            ProtocolError: it makes no sense.
            Exception: what ``_pyroValidateHandshake`` raised.
        """
        if type(answer) is not dict or not {"handshake", "meta"}.issubset(answer):
            raise ProtocolError("the daemon does not answer as one when a proxy connects")
        self._pyroValidateHandshake(answer["handshake"])
        meta: Mapping[str, Any] = answer["meta"]
        return meta

    def _pyro_introduce(
        self, line: Line, session: Session, deadline: float | None
    ) -> Mapping[str, Any]:
        """Introduce this proxy over a new connection; return what the object exposes.

        The hello and the introduction travel together, which saves a round trip.

        Raises:
            CommunicationError: the daemon refuses.
            DaemonError: it has no such object.
            PyroError: the object exposes nothing.
            Exception: what ``_pyroValidateHandshake`` raised.
        """
        assert line.resolved is not None
        object_id = named(line.resolved)
        self.__dict__["_pyro_session"] = session  # so that _pyroValidateHandshake can look at it
        if session.dialect != NATIVE:
            from pyroipc.client.pyro.introducing import introduce

            facts = introduce(self, session, object_id, deadline)  # type: ignore[arg-type]
            self._pyro_take(line, facts)
            return facts
        codec = self._pyro_codec(session)
        if type(self._pyroHandshake) is not str:
            _greet(session, deadline)  # what it looks like may depend on what the peer is
        args = (object_id, self._pyroHandshake)
        payload = codec.dumps_call(DAEMON_NAME, "connect", args, None)
        request_id = session.next_id()
        data = encode_request(self, session, codec, request_id, payload)  # type: ignore[arg-type]
        if session.is_open:
            message = session.exchange(request_id, data, deadline)
        else:
            session.greet_ahead(data)
            _greet(session, deadline)
            message = session.exchange(request_id, [], deadline)
        answer = read_result(self, session, codec, message)  # type: ignore[arg-type]
        facts = self._pyro_welcomed(answer)
        self._pyro_take(line, facts)
        return facts

    def _pyroReconnect(self, tries: int = 100_000_000) -> None:
        """Connect anew, trying again every two seconds while that fails.

        Args:
            tries: how often to try.

        Raises:
            ConnectionClosedError: it could not be done.
        """
        self._pyroRelease()
        while True:
            try:
                if self._pyro_line is None:
                    self._pyroBind()
                else:
                    self._pyro_bind_to(self._pyro_line)
            except CommunicationError as error:
                tries -= 1
                if tries <= 0 or isinstance(error, ForkedConnectionError):
                    failed = ConnectionClosedError(f"failed to reconnect: {error}")
                    failed.call_status = "not sent"
                    raise failed from error
                Event().wait(_RETRY_SECONDS)
            else:
                return

    def _pyro_learn(self, facts: Mapping[str, Any]) -> None:
        """Take note of the members that the daemon names.

        Raises:
            PyroError: there are none.
            ProtocolError: these are no metadata.
        """
        try:
            names = {key: frozenset(facts[key]) for key in ("methods", "attrs", "oneway")}
            # Nobody can expose one of these, and a proxy forgets its methods by their names.
            if any(name.startswith("_pyro") for group in names.values() for name in group):
                raise ProtocolError("the daemon names members that are those of a proxy")
        except (TypeError, KeyError, AttributeError):
            raise ProtocolError("the daemon sent metadata that make no sense") from None
        if not names["methods"] and not names["attrs"]:
            raise PyroError(
                f"remote object {self._pyroObjectId!r} exposes nothing: mark its members with "
                "@pyroipc.expose"
            )
        self.__dict__.update(
            _pyroMethods=names["methods"], _pyroAttrs=names["attrs"], _pyro_known=True
        )
        self._pyro_oneway.update(names["oneway"])

    def _pyroRelease(self) -> None:
        """Close the connection, or end the conversation if no other proxy shares the socket.

        The next use connects again. A user's socket stays open. A proxy that was received over the
        connection can be used again as long as the conversation goes on.
        """
        if self._pyro_hold is not None:
            self._pyro_forget_methods()
            self._pyro_session.release(self)
            return
        if self._pyro_line is not None:
            self.__dict__["_pyro_session"] = None
            self._pyro_forget_methods()
            self._pyro_line.drop()
            return
        session, self.__dict__["_pyro_session"] = self._pyro_session, None
        self.__dict__["_pyro_known"] = False
        self._pyro_forget_methods()
        if session is not None and self._pyro_pid == os.getpid():
            session.release(self)

    @property
    def _pyroHmacKey(self) -> bytes | None:
        """What both ends have to know, in bytes, or None; a new key takes a new connection."""
        line = self._pyro_line
        return (line.hmac_key or None) if line is not None else None

    @_pyroHmacKey.setter
    def _pyroHmacKey(self, key: bytes | str | None) -> None:
        from pyroipc.client.connecting import key_of

        line = self._pyro_line
        if line is None:
            raise PyroError("a proxy over a connected socket has no HMAC key")
        line.hmac_key = key_of(key or b"", self._pyro_settings)
        self._pyroRelease()


def _greet(session: Session, deadline: float | None) -> None:
    """Open the first conversation on a new connection.

    Raises:
        CommunicationError: the daemon does not want it.
        TimeoutError: it says nothing.
    """
    try:
        session.open(deadline)
    except TimeoutError:
        raise TimeoutError(
            "the connection was taken, but no welcome came in time: either the requestLoop of the "
            "daemon does not run, or it is no daemon of pyroipc, or another kind of connection is "
            "expected there (TLS, or an HMAC key)"
        ) from None


def named(uri: URI) -> str:
    """Return what names the object of a URI for an address."""
    return uri.object if isinstance(uri.object, str) else ",".join(sorted(uri.object))
