"""The client: it hands out numbers and collects their prime factors, from several processes."""

import contextlib
import pathlib
import subprocess
import sys

import pyroipc

N_WORKERS = 3
NUMBERS = [2**10, 600_851_475_143, 1_000_003, 999_999, 87_654_321, 3**5 * 7**3, 1_299_709 * 3]

here = pathlib.Path(__file__).parent


def worker(uri, *options):
    return subprocess.Popen([sys.executable, here / "worker.py", uri, *options])


@contextlib.contextmanager
def dispatcher_process():
    command = [sys.executable, here / "dispatcher.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


with dispatcher_process() as uri, pyroipc.Proxy(uri) as dispatcher:
    for number in NUMBERS:
        dispatcher.put_work(number)
    with worker(uri, "--clumsy") as clumsy:
        print("a worker fell over:", clumsy.wait())
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(uri)) for _ in range(N_WORKERS)]
        results = dict(dispatcher.get_result() for _ in NUMBERS)
        dispatcher.no_more_work()
    print("the others ended with", {process.returncode for process in workers})

for number in NUMBERS:
    print(number, "=", " * ".join(map(str, results[number])))

# Output:
#   a worker fell over: 1
#   the others ended with {0}
#   1024 = 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2
#   600851475143 = 71 * 839 * 1471 * 6857
#   1000003 = 1000003
#   999999 = 3 * 3 * 3 * 7 * 11 * 13 * 37
#   87654321 = 3 * 3 * 1997 * 4877
#   83349 = 3 * 3 * 3 * 3 * 3 * 7 * 7 * 7
#   3899127 = 3 * 1299709
