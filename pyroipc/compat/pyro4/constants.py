"""The constants of Pyro4. The version is that of the Pyro4 whose names these are."""

from __future__ import annotations

__all__ = ["DAEMON_NAME", "FLAME_NAME", "NAMESERVER_NAME", "PROTOCOL_VERSION", "VERSION"]

VERSION = "4.82"
"""The release of Pyro4 that this stands in for; ``pyroipc.__version__`` is that of the library."""
DAEMON_NAME = "Pyro.Daemon"
"""The id of the object in every daemon that tells about it."""
NAMESERVER_NAME = "Pyro.NameServer"
"""The id of the name server."""
FLAME_NAME = "Pyro.Flame"
"""The id of the object that Flame registers."""
PROTOCOL_VERSION = 48
"""The version of Pyro4's protocol."""
