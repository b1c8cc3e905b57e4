"""Stock quotes, phase 2: each market is a program of its own, and the viewer knows their names.

The classes are those of phase 1. The generator of the market has become a stream over the network.
"""

import contextlib
import os
import subprocess
import sys
import threading

import stockmarket

import pyroipc

MARKETS = {"NASDAQ": ["AAPL", "CSCO", "MSFT"], "NYSE": ["IBM", "HPQ"]}


def serve(name):
    with pyroipc.Daemon("localhost") as daemon:
        exchange = stockmarket.StockMarket(name, MARKETS[name])
        # The name stays as long as this program runs, and goes with it, whatever happens.
        with pyroipc.publish(daemon, {f"example.stockmarket.{name}": exchange}):
            print("ready", flush=True)
            daemon.requestLoop()


@contextlib.contextmanager
def name_server():
    """Run a name server in a thread. In real life it is a program of its own: pyroipc ns."""
    uri, daemon, _ = pyroipc.start_ns("localhost", port=0)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    os.environ["PYRO_NS_PORT"] = str(uri.port)  # for the markets
    pyroipc.config.NS_PORT = uri.port
    try:
        yield
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()


@contextlib.contextmanager
def market(name):
    command = [sys.executable, __file__, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()


def main():
    with name_server(), market("NASDAQ"), market("NYSE"), contextlib.ExitStack() as stack:
        uris = [f"PYRONAME:example.stockmarket.{name}" for name in MARKETS]
        stockmarket.Viewer([stack.enter_context(pyroipc.Proxy(uri)) for uri in uris]).show(4)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()

# Output:
#   NASDAQ: AAPL 103
#   NYSE: IBM 103
#   NASDAQ: CSCO 109
#   NYSE: HPQ 109
#   NASDAQ: MSFT 124
#   NYSE: IBM 107
#   NASDAQ: AAPL 101
#   NYSE: HPQ 107
