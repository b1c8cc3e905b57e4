"""Two banks and a customer, each in a process of its own."""

import contextlib
import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent


@contextlib.contextmanager
def bank(name):
    command = [sys.executable, here / "bank.py", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


with bank("Rabobank") as first, bank("Sparkasse") as second:
    subprocess.run([sys.executable, here / "client.py", first, second], check=True)

# Output:
#   Rabobank: ann has 930 too little (930), an InsufficientFundsError
#   Rabobank: the amount must be positive
#   Rabobank: nobody of the name 'bob'
#   raised in deposit
#   Rabobank: ann 70
#   Sparkasse: ann 30, bob 20
