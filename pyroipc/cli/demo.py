"""``pyroipc demo``: what this package is about, in a few lines of output and about a second.

A parent calls an object that lives in a child process; the time of a call stands beside that of an
echo over ``multiprocessing.Pipe``, measured in the same moment; and a child is killed in a call.
"""

from __future__ import annotations

import os
import signal
import time

import pyroipc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from multiprocessing.connection import Connection

ROUNDS = 7


class Calculator:
    """The object that is called. It remembers a total."""

    def __init__(self, total: int) -> None:
        self.total = total

    def add(self, *numbers: int) -> int:
        """Add the numbers to the total and return it."""
        self.total += sum(numbers)
        return self.total

    def divide(self, by: int) -> float:
        """Return the total divided by a number."""
        return self.total / by

    def echo(self, value: object) -> object:
        """Return the value."""
        return value

    def where(self) -> int:
        """Return the id of the process that runs this."""
        return os.getpid()

    def crash(self) -> None:
        """End this process at once, as a crash would."""
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand to its parser."""
    parser.add_argument(
        "--calls", type=int, default=1000, help="calls per timing round (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; return the exit status."""
    _show_calls()
    _show_times(max(1, options.calls))
    _show_a_death()
    return 0


def _show_calls() -> None:
    print("An object in a child process")
    with pyroipc.spawn(Calculator, 10) as calculator:
        print(f"  this process        {os.getpid()}")
        print(f"  calculator.where()  {calculator.where()}")
        print(f"  calculator.add(1, 2, 3)  {calculator.add(1, 2, 3)}")
        print(f"  calculator.divide(4)     {calculator.divide(4)}")
        try:
            calculator.divide(0)
        except ZeroDivisionError as error:
            print(f"  calculator.divide(0)     raises {type(error).__name__}: {error}")


def _show_times(calls: int) -> None:
    import multiprocessing

    ours, theirs = multiprocessing.Pipe()
    echo = multiprocessing.Process(target=_echo_over_pipe, args=(theirs,), daemon=True)
    echo.start()
    theirs.close()

    def call_over_pipe() -> object:
        ours.send(42)
        return ours.recv()

    try:
        with pyroipc.spawn(Calculator, 0) as calculator:
            member = calculator.echo
            pairs = [
                (_microseconds(lambda: member(42), calls), _microseconds(call_over_pipe, calls))
                for _ in range(ROUNDS)
            ]
    finally:
        ours.send(None)
        echo.join()
        echo.close()
        ours.close()
    call, pipe = (sorted(column)[ROUNDS // 2] for column in zip(*pairs, strict=True))
    ratio = sorted(one / other for one, other in pairs)[ROUNDS // 2]
    print(f"\nThe time of a call, medians of {ROUNDS} rounds of {calls} calls")
    print(f"  calculator.echo(42)              {call:7.1f} µs")
    print(f"  the same by multiprocessing.Pipe {pipe:7.1f} µs")
    print(f"  ratio                            {ratio:7.2f}")


def _show_a_death() -> None:
    print("\nA child that is killed in a call")
    with pyroipc.spawn(Calculator, 0) as calculator:
        begin = time.perf_counter()
        try:
            calculator.crash()
        except pyroipc.PeerDiedError as error:
            milliseconds = (time.perf_counter() - begin) * 1e3
            print(f"  {type(error).__name__} after {milliseconds:.1f} ms: {error}")
            print(f"  its pid {error.pid}, exit code {error.exitcode}, signal {error.signal_name}")


def _microseconds(call: Callable[[], object], calls: int) -> float:
    """Return the mean time of one call, in µs."""
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls * 1e6


def _echo_over_pipe(connection: Connection) -> None:
    """Send back what comes, until None comes."""
    while (value := connection.recv()) is not None:
        connection.send(value)
