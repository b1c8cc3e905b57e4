"""``Pyro4.utils.flameserver``: a process that does whatever its user's other processes ask for.

See :mod:`pyroipc.compat.pyro4.utils.flame`: it needs FLAME_ENABLED and a unix socket.
"""

from __future__ import annotations

from pyroipc.compat.pyro4 import core, keys
from pyroipc.compat.pyro4.configuration import config
from pyroipc.compat.pyro4.utils import flame
from pyroipc.errors import SecurityError
from pyroipc.naming.launch import printing_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyroipc.uri import URI

__all__ = ["config", "main"]


def main(
    args: Sequence[str] | None = None, returnWithoutLooping: bool = False
) -> tuple[core.Daemon, URI] | None:
    """Serve Flame until Ctrl-C.

    Args:
        args: the command line.
        returnWithoutLooping: return the daemon and the URI of Flame instead of serving.

    Raises:
        SystemExit: Flame cannot be served, or not there.
    """
    from argparse import ArgumentParser

    parser = ArgumentParser(prog="flameserver.py")
    add = parser.add_argument
    add("-H", "--host", default="localhost", help="hostname to bind server on (%(default)s)")
    add("-p", "--port", type=int, default=0, help="port to bind server on")
    add("-u", "--unixsocket", help="Unix domain socket name to bind server on")
    add("-q", "--quiet", action="store_true", help="don't output anything")
    keys.add_option(parser)
    options = parser.parse_args(args)
    key = keys.chosen(options)
    lines = ["Starting Pyro Flame server."]
    if not key:
        lines.append(keys.WARNING)
    daemon = core.Daemon(options.host, options.port, options.unixsocket)
    try:
        if key:
            daemon._pyroHmacKey = key
        uri = flame.start(daemon)
    except SecurityError as error:
        daemon.close()
        raise SystemExit(f"error: {error}") from None
    lines += [f"server uri: {uri}", "server is running."]
    if options.quiet:
        lines.clear()
    if returnWithoutLooping:
        print(*lines, sep="\n", end="\n" if lines else "", flush=True)
        return daemon, uri
    with daemon:
        daemon.requestLoop(printing_first(lines))
    return None


if __name__ == "__main__":
    main()
