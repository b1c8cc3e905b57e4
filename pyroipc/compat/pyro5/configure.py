"""``Pyro5.configure``: the configuration. Run as a program, it prints it."""

from __future__ import annotations

from pyroipc.compat.pyro5._settings import VERSION as __version__  # noqa: N811
from pyroipc.compat.pyro5._settings import Configuration
from pyroipc.compat.pyro5._settings import config as global_config

__all__ = ["Configuration", "__version__", "dump", "global_config"]


def dump() -> None:
    """Print the settings that hold in this process."""
    print(global_config.dump())


if __name__ == "__main__":
    dump()
