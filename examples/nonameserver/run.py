"""Both programs at once: what you would do by hand in two terminals."""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
server = [sys.executable, here / "server.py"]

with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
    try:
        uri = process.stdout.readline().strip()
        # PYRO: , what the object is called, @ , and where: host and port. Neither name nor port
        # was chosen here, so nobody can guess them.
        print("the URI begins with", uri.partition("_")[0], flush=True)
        subprocess.run([sys.executable, here / "client.py", uri], check=True)
    finally:
        process.terminate()
print("the server ended with", process.returncode)

# Output:
#   the URI begins with PYRO:obj
#   Hello, Ada.
#   Hello, Grace.
#   the server ended with 0
