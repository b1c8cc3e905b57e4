"""``Pyro.Daemon``: the object in every daemon that tells about the others."""

from __future__ import annotations

from pyroipc.context import current_context
from pyroipc.errors import DaemonError, PyroError
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.server.exposure import expose
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.server.daemon import Daemon
    from pyroipc.server.registry import Entry

__all__ = ["DAEMON_NAME", "DaemonObject"]


class DaemonObject:
    """What a daemon tells about itself; registered in it as ``Pyro.Daemon``."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @expose
    def registered(self) -> list[str]:
        """Return the ids of all registered objects that the caller can call by their ids."""
        client = current_context.client
        if client is not None:
            found: list[str] = client.object_ids()
            return found
        return sorted(self._daemon.registry.entries)

    @expose
    def ping(self) -> None:
        """Do nothing: the answer is the point."""

    @expose
    def info(self) -> str:
        """Describe the daemon in one line."""
        return repr(self._daemon)

    @expose
    def connect(self, object_id: str, handshake: Any = None) -> dict[str, Any]:
        """Introduce a client: give the daemon its handshake, get the metadata of an object.

        Returns:
            ``handshake``: what the daemon answered; ``meta``: as :meth:`get_metadata`.

        Raises:
            CommunicationError: the daemon refuses this client.
            DaemonError: unknown object.
        """
        answer = current_context.client.introduce(handshake)
        return {"handshake": answer, "meta": self.get_metadata(object_id)}

    @expose
    def get_metadata(self, objectId: str, as_lists: bool = False) -> dict[str, list[str]]:  # noqa: FBT001, FBT002 - Pyro4's
        """Name the members of an object: ``methods``, ``oneway`` (of the methods), ``attrs``.

        Args:
            objectId: of the object.
            as_lists: is ignored: they are lists.
        """
        return self._entry(objectId).metadata()

    @expose
    def get_documentation(self, object_id: str) -> dict[str, dict[str, str]]:
        """Return ``signatures`` and ``docs`` of the members of an object, by name."""
        from pyroipc.server.documentation import document

        return document(self._entry(object_id))

    @expose
    def resume_stream(self, token: str, number: int) -> Iterator[Any]:
        """Go on with a stream whose connection has ended.

        Args:
            token: of the stream.
            number: of the item to begin with; the first item of the stream is 0.

        Raises:
            PyroError: it is over, or has waited for too long.
        """
        if _is_pyro():  # its streams are other ones
            raise PyroError("item stream terminated")
        return self._daemon.lingering.resume(token, number)

    @expose
    def end_stream(self, token: str) -> None:
        """Close a stream whose connection has ended; an unknown one is ignored."""
        if not _is_pyro():
            self._daemon.lingering.end(token)

    @expose
    def get_next_stream_item(self, streamId: str) -> Any:
        """Return the next item of a stream that was opened by a client that is Pyro.

        Raises:
            StopIteration: there is none.
            PyroError: there is no such stream, or not any more.
        """
        return current_context.client.next_item(streamId)

    @expose
    def close_stream(self, streamId: str) -> None:
        """Close a stream that was opened by a client that is Pyro; an unknown one is ignored."""
        current_context.client.close_item_stream(streamId)

    def _entry(self, object_id: str) -> Entry:
        client = current_context.client
        if client is not None:
            entry: Entry = client.entry(object_id)
            return entry
        found = self._daemon.registry.entries.get(object_id)
        if found is None:
            raise DaemonError(f"unknown object {object_id!r}")
        return found


def _is_pyro() -> bool:
    """Say whether the caller is a client that is Pyro."""
    client = current_context.client
    return client is not None and client.session.dialect != NATIVE
