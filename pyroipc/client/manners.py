"""How a proxy behaves as a Python object: comparing, copying, pickling, iterating, printing."""

from __future__ import annotations

import os

from pyroipc.client import references, sharing
from pyroipc.errors import PyroError, SerializeError
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Generic, Self, TypeVar

    from pyroipc.client.session import Session

    T = TypeVar("T")

    class _Typed(Generic[T]):
        pass

else:
    # What typing.Generic does for subscripts, without loading typing. A GenericAlias.
    class _Typed:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))

    T = object

_COPIED = (
    "_pyroTimeout",
    "_pyroMaxRetries",
    "_pyroHandshake",
    "_pyroMethods",
    "_pyroAttrs",
    "_pyro_serializer",
    "_pyro_dialect",
    "_pyro_class_key",
    "_pyro_hold",
    "_pyro_is_asynchronous",
    "_pyro_known",
)


class Manners(_Typed[T]):
    """The base of proxies: what they do that is not calling."""

    if TYPE_CHECKING:
        _pyroObjectId: str

        def __getattr__(self, name: str) -> Any: ...

    @property
    def _pyroUri(self) -> URI:
        """The URI of the remote object; without an address it holds only in this process.

        A name is replaced by the address that it stands for once that was looked up.
        """
        line = self._pyro_line
        if line is not None:
            uri: URI = line.resolved or line.uri
            return uri
        if self._pyro_address is not None:  # it came over a connection, but others can reach it
            return URI(self._pyro_address)
        return URI.for_connected_socket(self._pyroObjectId)

    @property
    def _pyroConnection(self) -> Session | None:
        """The connection, or None; in ``_pyroValidateHandshake`` the one that is being made."""
        line = self._pyro_line
        session: Session | None = None if line is None else line.session
        if session is None or not session.is_open:
            session = self._pyro_session
        return session if session is not None and session.is_open else None

    @property
    def _pyroLocalSocket(self) -> Any:
        """The address of this end of the connection, as ``getsockname`` gives it, or None."""
        session = self._pyroConnection
        return None if session is None else session.channel.sock.getsockname()

    def _pyroClaimOwnership(self) -> None:
        """Do nothing: any thread may use a proxy. In Pyro5 a proxy belongs to one thread."""

    # --- identity ------------------------------------------------------------------------------

    def _pyro_way(self) -> object:
        """Return what tells the connections of two proxies without an address apart."""
        session = self._pyro_session
        return id(self._pyro_socket if session is None else session.channel.sock)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Manners):
            return NotImplemented
        if self._pyro_address is not None or other._pyro_address is not None:
            return self._pyro_address == other._pyro_address
        return self._pyroObjectId == other._pyroObjectId and self._pyro_way() == other._pyro_way()

    def __hash__(self) -> int:
        return hash(self._pyro_address or self._pyroObjectId)

    def __bool__(self) -> bool:
        return True

    _pyro_address: str | None = None
    """The text of the URI under which others can reach the object, if this proxy knows one.

    It is what makes two proxies equal then, whatever connections they have.
    """

    def _pyroReference(self) -> tuple[str, str]:
        """Return the token of this end of the connection, and the object id."""
        session = self._pyro_session if self._pyro_line is None else self._pyro_line.session
        if session is None and self._pyro_socket is not None and self._pyro_pid == os.getpid():
            session = self._pyro_connected()
        return (session.token if session is not None else "", self._pyroObjectId)

    # --- copies --------------------------------------------------------------------------------

    def __copy__(self) -> Self:
        """Return another proxy for the same object.

        That of a connected socket shares the connection; that of an address makes its own.
        """
        twin = type(self).__new__(type(self))
        twin._pyro_set_up(
            self._pyroObjectId,
            self._pyro_settings,
            socket=self._pyro_socket,
            session=None if self._pyro_socket is not None else self._pyro_session,
        )
        for name in _COPIED:
            twin.__dict__[name] = self.__dict__[name]
        twin.__dict__["_pyro_oneway"] = set(self._pyro_oneway)
        if self._pyro_line is not None:  # a connection of its own
            twin.__dict__.update(_pyro_line=self._pyro_line.copy(), _pyro_session=None)
        twin.__dict__["_pyro_address"] = self._pyro_address
        if self._pyro_socket is not None:
            twin.__dict__["_pyro_known"] = False
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> Any:
        """Pickle as a URI and the connection: it works where that connection is.

        For the peer of the connection that is its own object, and for this process another proxy.
        A proxy for an address works everywhere.
        """
        token, object_id = self._pyroReference()
        uri = self._pyro_address or str(URI.for_connected_socket(object_id))
        return revive, (uri, token, self._pyro_serializer)

    # --- containers ----------------------------------------------------------------------------

    # Python looks these up on the class, so __getattr__ does not see them.

    def _pyro_special(self, name: str, *args: Any) -> Any:
        """Call a special method of the remote object, if it is exposed.

        Raises:
            TypeError: it is not, as if a local object did not have it.
        """
        self._pyroBind()
        if name not in self._pyroMethods:
            raise TypeError(f"remote object {self._pyroObjectId!r} has no exposed {name}")
        return self._pyroInvoke(name, args, {})

    def __len__(self) -> int:
        return int(self._pyro_special("__len__"))

    def __getitem__(self, key: Any) -> Any:
        return self._pyro_special("__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._pyro_special("__setitem__", key, value)

    def __delitem__(self, key: Any) -> None:
        self._pyro_special("__delitem__", key)

    def __contains__(self, item: Any) -> bool:
        self._pyroBind()
        if "__contains__" in self._pyroMethods:
            return bool(self._pyro_special("__contains__", item))
        return any(item == other for other in self)

    def __iter__(self) -> Iterator[Any]:
        self._pyroBind()
        if "__iter__" in self._pyroMethods:
            return iter(self._pyro_special("__iter__"))
        if "__getitem__" not in self._pyroMethods:
            raise TypeError(f"remote object {self._pyroObjectId!r} has no exposed __iter__")
        return self._pyro_items()

    def _pyro_items(self) -> Iterator[Any]:
        index = 0
        while True:
            try:
                yield self._pyro_special("__getitem__", index)
            except (IndexError, StopIteration):
                return
            index += 1

    # --- the rest ------------------------------------------------------------------------------

    def __dir__(self) -> Iterator[str]:
        try:
            self._pyroBind()
        except PyroError:
            pass  # completion must not fail because the peer is gone
        return iter({*super().__dir__(), *self._pyroMethods, *self._pyroAttrs})

    def __enter__(self) -> T:
        return self  # type: ignore[return-value] # editors complete the object's members

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._pyroRelease()

    def __repr__(self) -> str:
        state = "connected" if self._pyroConnection is not None else "not connected"
        what = self._pyroObjectId if self._pyro_line is None else str(self._pyro_line.uri)
        return f"<pyroipc.Proxy at {id(self):#x}; {state}; for {what!r}>"


def revive(uri: str, token: str, serializer: str | None) -> object:
    """Return what a pickled proxy stands for in this process.

    Raises:
        SerializeError: the connection over which it went is not one of this process.
    """
    address = URI(uri)
    object_id = address.object
    sessions = sharing.members_of(sharing.sessions) if token and isinstance(object_id, str) else []
    for session in sessions:
        hello = session.peer_hello
        if hello is not None and hello.session == token and session.references.home:
            return session.references.decode(["home", object_id])
    for session in sessions:
        if session.token == token and address.is_connected_socket:
            assert isinstance(object_id, str)
            proxy = session.references.proxy_for(object_id)
            if proxy._pyroSerializer != serializer:
                proxy._pyroSerializer = serializer
            return proxy
    if not address.is_connected_socket:
        proxy = references.make_address_proxy(uri)
        proxy._pyroSerializer = serializer
        return proxy
    raise SerializeError(
        f"the proxy for {object_id!r} goes over a connected socket that process {os.getpid()} "
        "does not have; pass a registered object that calls it instead, or make a new proxy "
        "there, on a socket of its own"
    )
