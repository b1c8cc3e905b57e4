"""``python -m pyroipc.compat Pyro5 program.py``: an unchanged program of Pyro's on pyroipc."""

from __future__ import annotations

import sys

from pyroipc.compat.programs import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
