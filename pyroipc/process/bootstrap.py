"""The first steps of a fresh interpreter on its way to being a child; see :mod:`.fresh`."""

from __future__ import annotations

import _socket as socket  # the C part alone: the rest costs a fresh child 5 ms
import os

from pyroipc.process import child
from pyroipc.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

_FIRST_NUMBER = 3


def start(far: int, life: int, settings: Mapping[str, Any], parent: int) -> NoReturn:
    """Be a child process.

    Args:
        far: the number of our end of the pair that carries calls.
        life: that of our end of the lifeline.
        settings: the settings of the parent, item by item.
        parent: its process id.
    """
    keep_only(far, life)
    given = read_settings(settings)
    child.run(lambda: child.Service(adopt(far), given, None), adopt(life), parent)


def keep_only(*numbers: int) -> None:
    """Close all inherited descriptors but these and the standard streams."""
    for name in os.listdir("/dev/fd"):
        if (number := int(name)) >= _FIRST_NUMBER and number not in numbers:
            try:
                os.close(number)
            except OSError:
                pass


def adopt(number: int) -> socket.socket:
    """Make a socket object for an inherited descriptor, and let nobody inherit it from us."""
    os.set_inheritable(number, False)  # noqa: FBT003 - as it is
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, number)


def read_settings(items: Mapping[str, Any]) -> Settings:
    """Make settings of the items that ``Settings.as_dict`` gave."""
    settings = Settings(use_environment=False)
    for name, value in items.items():
        setattr(settings, name, value)
    return settings
