"""``python -m pyroipc``: the same as the command ``pyroipc``."""

from __future__ import annotations

from pyroipc.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
