"""One of the many clients of a daemon that listens: what is set up for it, and how it ends."""

from __future__ import annotations

from pyroipc.errors import ConnectionClosedError
from pyroipc.server.loops.visitor import Visitor
from pyroipc.server.serving import Serving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.session import Session
    from pyroipc.server.daemon import Daemon
    from pyroipc.server.loops.network import NetworkLoop


class Visit(Serving):
    """One client of a daemon that listens.

    Args:
        daemon: whose objects are served.
        session: its connection.
        loop: serves it.
    """

    def __init__(self, daemon: Daemon, session: Session, loop: NetworkLoop) -> None:
        session.codecs.accept(daemon.accepted)
        super().__init__(daemon, session, daemon.registry)
        self._loop = self.visitor = visitor = Visitor(
            loop,
            session,
            self.handler,
            self.streams,
            oneway_queue=daemon.settings.ONEWAY_QUEUE,
            on_end=self._end,
        )
        self._be_home()
        session.host = session.outbox = visitor

    def _end(self) -> None:
        error = self.visitor.error
        if error is not None and not isinstance(error, ConnectionClosedError):
            from logging import getLogger

            getLogger("pyroipc.server").warning(
                "the connection of %r ended: %s", self.connection, error
            )
        self._loop.finish_oneway()
        try:
            self._end_conversation()
        finally:
            self._leave_home()
            self.session.host = self.session.outbox = None
