"""``_pyroId`` and ``_pyroDaemon`` of registered objects, without writing to the objects.

A program for Pyro4 finds both as attributes of whatever it has registered. Here they stand on the
class, and look in the registries of the daemons when they are read. So an object that travels as a
copy takes no daemon along, one with slots has them too, and they are gone when the object is not
registered any more.
"""

from __future__ import annotations

from weakref import WeakSet

from pyroipc.client.sharing import members_of
from pyroipc.server.exposure import attributes_of, is_a, mro_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyroipc.server.daemon import Daemon
    from pyroipc.server.registry import Entry

__all__ = ["daemons", "let_know"]

daemons: WeakSet[Daemon] = WeakSet()
"""The daemons that are looked in."""


class _Known:
    """What is known of the registration of an object or of its class.

    Args:
        name: the name of the attribute.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        """Return it.

        Raises:
            AttributeError: neither the object nor its class is registered.
        """
        for target in _targets(instance, owner):
            for daemon in members_of(daemons):
                entry = daemon.registry.find(target)
                if entry is not None:
                    return self._of(daemon, entry)
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")

    def _of(self, daemon: Daemon, entry: Entry) -> Any:
        return daemon if self._name == "_pyroDaemon" else entry.object_id

    def __reduce__(self) -> str:
        return self._name


_pyroId = _Known("_pyroId")
_pyroDaemon = _Known("_pyroDaemon")


def _targets(instance: object, owner: type) -> Iterator[object]:
    if instance is not None:
        yield instance
    yield from mro_of(owner)


def let_know(target: Any) -> None:
    """See to it that a registered object or class can tell its id and its daemon."""
    cls: Any = target if is_a(target, type) else type(target)
    if "_pyroDaemon" in attributes_of(cls):
        return
    try:
        cls._pyroId = _pyroId
        cls._pyroDaemon = _pyroDaemon
    except (AttributeError, TypeError):
        pass  # a builtin, which has no room for them, and does not ask
