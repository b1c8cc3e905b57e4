"""A program that plays the client: it runs scenarios with one of the libraries, as it is told.

Each request is a line that says how long what follows is, and a pickle: the name of a scenario,
its arguments, and keyword arguments. The answer looks the same: whether it went well, and the
value, or the traceback. Pickle is for the test that started this program, and nobody else.
"""

from __future__ import annotations

import pickle
import sys
import traceback

from tests.interop.peers import scenarios
from tests.interop.peers.library import Library


def main():
    lib = Library(sys.argv[1])
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while line := stdin.readline():
        name, args, kwargs = pickle.loads(stdin.read(int(line)))
        try:
            answer = True, getattr(scenarios, name)(lib, *args, **kwargs)
        except BaseException:
            answer = False, traceback.format_exc()
        lib.forget_context()
        data = pickle.dumps(answer)
        stdout.write(b"%d\n%s" % (len(data), data))
        stdout.flush()


if __name__ == "__main__":
    main()
