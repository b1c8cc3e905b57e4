"""All four programs at once: name server, object, gateway, client."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

here = pathlib.Path(__file__).parent


@contextlib.contextmanager
def running(*command, until):
    """Run a program; yield what it prints as ``until``, as soon as it does."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            for line in process.stdout:
                if found := re.match(until, line):
                    yield found[1]
                    break
        finally:
            process.terminate()


with contextlib.ExitStack() as stack:
    names = running("-m", "pyroipc", "ns", "-p", "0", until=r"NS running on .*:(\d+)")
    # The others find it by this variable. With the usual port, 9090, they need none.
    os.environ["PYRO_NS_PORT"] = stack.enter_context(names)
    server = running(here / "server.py", until="(.*) is published")
    print("the object:", stack.enter_context(server), flush=True)
    gateway = running("-m", "pyroipc", "gateway", "-p", "0", until=r"Pyro HTTP .* on (\S+)")
    address = stack.enter_context(gateway)
    subprocess.run([sys.executable, "-u", here / "client.py", address], check=True)

# Output:
#   the object: http.fortunes
#   {'fortune': 'Ada will travel far.', 'numbers': []}
#   {'fortune': 'Grace will travel far.', 'numbers': [3, 7]}
#   {'fortune': 'Edsger will travel far.', 'numbers': [1, 5]}
#   told so far: 3
#   what there is: {'methods': ['count_down', 'tell'], 'attributes': ['told']}
#   500 builtins.ValueError whose fortune?
#   [3, 2, 1]
#   item 3
#   item 2
#   item 1
