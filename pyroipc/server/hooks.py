"""What a subclass of Daemon may override, to take part in what happens to its clients."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pyroipc.server.connection import Connection
    from pyroipc.wire.message import Buffer


class Hooks:
    """The base of a daemon: hooks that do nothing."""

    methodcall_error_handler: Callable[..., None] | None = None
    """Called with the daemon, the address of the client, the name of the method, its positional
    and keyword arguments, and the exception, when a method has raised one."""

    def validateHandshake(self, conn: Connection, data: Any) -> Any:  # noqa: N802 - Pyro's name
        """Look at what a proxy says when it connects (``_pyroHandshake``); to be overridden.

        As soon as a subclass does, nothing else is served to a client that has not passed here.

        Args:
            conn: the client.
            data: what the proxy sent.

        Returns:
            Anything that can be sent; the proxy gives it to ``_pyroValidateHandshake``.

        What this raises refuses the connection; its text is what the client sees.
        """
        return "hello"

    def clientDisconnect(self, conn: Connection) -> None:  # noqa: N802 - so is this
        """Take note that a client is gone; to be overridden. What it raises is logged."""

    def annotations(self) -> Mapping[str, Buffer]:
        """Return what to add to the annotations of every answer; to be overridden."""
        return {}

    def housekeeping(self) -> None:
        """Do what is to be done every POLLTIMEOUT seconds or so; to be overridden.

        Of daemons that listen only. What it raises is logged.
        """
