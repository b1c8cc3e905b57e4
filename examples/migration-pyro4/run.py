"""A program moves from Pyro4 to pyroipc in three steps: step1.py, step2.py and step3.py.

Each step works, so you may stop at any. Server and client need not move on the same day: as long
as both use Pyro4's names, each may be on Pyro4 or on pyroipc.
"""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
QUIETLY = ("-W", "ignore")  # Pyro4 itself warns when it is imported
ON_PYROIPC = ("-m", "pyroipc.compat", "Pyro4")  # runs a program for Pyro4 as it stands


def meet(server, visitor):
    """Have one program visit the other; return what the visitor prints."""
    command = [sys.executable, *server, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            uri = process.stdout.readline().strip()
            visit = [sys.executable, *visitor, uri]
            done = subprocess.run(visit, stdout=subprocess.PIPE, text=True, check=True)
            return done.stdout
        finally:
            process.terminate()


step1, step2, step3 = (here / name for name in ("step1.py", "step2.py", "step3.py"))

before = meet((*QUIETLY, step1), (*QUIETLY, step1))
print("on Pyro4:")
print(before, end="")

for what, server, visitor in (
    ("step 1, not one line changed", (*ON_PYROIPC, step1), (*ON_PYROIPC, step1)),
    ("step 2, install_as", (step2,), (step2,)),
    ("step 3, own names", (step3,), (step3,)),
    ("the server is still on Pyro4", (*QUIETLY, step1), (step2,)),
    ("the client is still on Pyro4", (step2,), (*QUIETLY, step1)),
):
    print(f"{what}: {'the same' if meet(server, visitor) == before else 'something else'}")

# Output:
#   on Pyro4:
#   Ada has borrowed [1, 2]
#   refused: Ada has Emma already
#   raised in borrow: True
#   step 1, not one line changed: the same
#   step 2, install_as: the same
#   step 3, own names: the same
#   the server is still on Pyro4: the same
#   the client is still on Pyro4: the same
