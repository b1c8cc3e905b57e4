"""The banks have names, and nobody cares where they are: one of them moves in business hours."""

import contextlib
import os
import pathlib
import subprocess
import sys
import threading

import pyroipc

here = pathlib.Path(__file__).parent


@contextlib.contextmanager
def name_server():
    """Run a name server in a thread. In real life it is a program of its own: pyroipc ns."""
    uri, daemon, _ = pyroipc.start_ns("localhost", port=0)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    os.environ["PYRO_NS_PORT"] = str(uri.port)  # for the banks and the customer
    pyroipc.config.NS_PORT = uri.port
    try:
        yield
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()


@contextlib.contextmanager
def bank(name):
    command = [sys.executable, here / "bank.py", name, "--publish"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()


with name_server(), pyroipc.locate_ns() as ns, bank("Rabobank"):
    # The same customer as in run.py: a name is a URI, too.
    with bank("Sparkasse"):
        names = [f"PYRONAME:{name}" for name in sorted(ns.list(prefix="bank."))]
        print("banks:", *names, flush=True)
        subprocess.run([sys.executable, here / "client.py", *names], check=True)

    print("banks:", *ns.list(prefix="bank."))
    with pyroipc.Proxy("PYRONAME:bank.Sparkasse") as sparkasse:
        with bank("Sparkasse"):
            first = ns.lookup("bank.Sparkasse")
            sparkasse.open_account("eve")
        try:
            sparkasse.balance("eve")
        except pyroipc.PyroError as error:
            print("closed:", error)
        with bank("Sparkasse"):
            print("moved:", ns.lookup("bank.Sparkasse") != first)
            # The proxy looks the name up each time it connects.
            sparkasse.open_account("eve")
            print("open again:", dict(sparkasse.accounts()))
    print("banks:", *ns.list(prefix="bank."))

# Output:
#   banks: PYRONAME:bank.Rabobank PYRONAME:bank.Sparkasse
#   Rabobank: ann has 930 too little (930), an InsufficientFundsError
#   Rabobank: the amount must be positive
#   Rabobank: nobody of the name 'bob'
#   raised in deposit
#   Rabobank: ann 70
#   Sparkasse: ann 30, bob 20
#   banks: bank.Rabobank
#   closed: unknown name: bank.Sparkasse
#   moved: True
#   open again: {'eve': 0}
#   banks: bank.Rabobank
