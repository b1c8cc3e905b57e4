"""``Pyro4.utils.httpgateway``: objects for whoever speaks HTTP; see :mod:`pyroipc.gateway`.

``pyro_app`` is a WSGI application, whose attributes ``ns_regex``, ``gateway_key``,
``comm_timeout`` and ``hmac_key`` may be set.
"""

from __future__ import annotations

from pyroipc.compat.pyro4 import core
from pyroipc.compat.pyro4.configuration import config
from pyroipc.gateway import launch
from pyroipc.gateway.app import pyro_app

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyroipc.compat.pyro4.nameservers import NameServerProxy

__all__ = ["config", "get_nameserver", "main", "pyro_app"]


def get_nameserver(hmac: bytes | str | None = None) -> NameServerProxy:
    """Find the name server, and return a proxy for it.

    Args:
        hmac: what it wants to know; None: the key of ``pyro_app``.

    Raises:
        NamingError: there is none.
    """
    return core.locateNS(hmac_key=hmac or pyro_app.hmac_key)


def main(args: Sequence[str] | None = None) -> int:
    """Run a gateway until Ctrl-C or SIGTERM; return the exit status.

    Args:
        args: the command line.
    """
    return launch.main(args, manner="pyro4")


if __name__ == "__main__":
    raise SystemExit(main())
