"""``Pyro5.utils.httpgateway``: objects of a name server for whoever speaks HTTP and JSON.

``pyro_app`` is a WSGI application; its attributes ``ns_regex``, ``gateway_key``, ``comm_timeout``
and ``cors`` may be set. Run as a program, it is served.
"""

from __future__ import annotations

from pyroipc.compat.pyro5 import __version__, config
from pyroipc.gateway.app import pyro_app

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["__version__", "config", "main", "pyro_app"]


def main(args: Sequence[str] | None = None) -> int:
    """Serve the gateway, as the command line says; return the exit status."""
    from pyroipc.gateway import launch

    return launch.main(args, manner="pyro5")


if __name__ == "__main__":
    raise SystemExit(main())
