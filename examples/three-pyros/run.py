"""A Pyro4 server, a Pyro5 server and one of pyroipc, and one client for all of them."""

import contextlib
import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent


@contextlib.contextmanager
def server(*command):
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


with (
    # Pyro4 uses what newer versions of Python warn of.
    server("-W", "ignore", here / "pyro4_server.py") as of_pyro4,
    server("-W", "ignore", here / "pyro5_server.py") as of_pyro5,
    server(here / "pyroipc_server.py") as of_pyroipc,
):
    uris = [of_pyro4, of_pyro5, of_pyroipc]
    subprocess.run([sys.executable, here / "client.py", *uris], check=True)

# Output:
#   Pyro4: coffee, tea
#     left: 2
#     no: there is not enough coffee
#   Pyro5: milk, tea
#     left: 0
#     no: there is not enough coffee
#   pyroipc: sugar, tea
#     left: 1
#     no: there is not enough coffee
#   from another one: Pyro5 1
