"""Stock quotes, phase 3: the viewer knows no names, and looks which markets there are.

On several machines nothing changes but where they listen: ``pyroipc ns -n ""``, and a host for the
daemons of the markets that the others can reach.
"""

import contextlib

import phase2
import stockmarket

import pyroipc

PREFIX = "example.stockmarket."


def show_all(number):
    """Show some quotes of all the markets that are open."""
    with pyroipc.locate_ns() as ns, contextlib.ExitStack() as stack:
        found = ns.list(prefix=PREFIX)
        print(len(found), "open:", *(name.removeprefix(PREFIX) for name in sorted(found)))
        proxies = [stack.enter_context(pyroipc.Proxy(found[name])) for name in sorted(found)]
        stockmarket.Viewer(proxies).show(number)


with phase2.name_server():
    show_all(1)
    with phase2.market("NYSE"):
        show_all(1)
        with phase2.market("NASDAQ"):
            show_all(2)
        # It was told to end, and has taken its name with it. If it had been killed, the name
        # would go a minute later, or whatever ttl= says.
        show_all(1)

# Output:
#   0 open:
#   1 open: NYSE
#   NYSE: IBM 103
#   2 open: NASDAQ NYSE
#   NASDAQ: AAPL 103
#   NYSE: IBM 103
#   NASDAQ: CSCO 109
#   NYSE: HPQ 109
#   1 open: NYSE
#   NYSE: IBM 103
