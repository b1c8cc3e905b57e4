"""Two of Pyro4's switches that change what a registered object exposes, and how it is called.

Without ``REQUIRE_EXPOSE`` all public methods and properties can be called; marks do not count.
Without ``ONEWAY_THREADED`` a call of a connection runs when its one-way calls before it have run.
"""

from __future__ import annotations

from threading import Event

from pyroipc.context import current_context
from pyroipc.server.exposure import (
    METHOD,
    Member,
    MemberTable,
    attributes_of,
    is_a,
    is_method,
    is_private_name,
)
from pyroipc.server.loops.visitor import Visitor
from pyroipc.wire.message import ONEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from pyroipc.server.registry import Entry

__all__ = ["public_part", "put_in_order"]

_PAUSE_SECONDS: Final = 0.002

# ----------------------------------------------------------------------- REQUIRE_EXPOSE = False

_public_parts: dict[type, type] = {}


def public_part(target: Any) -> type | None:
    """Return an interface that names all public members of a class; None: there are none.

    Attributes that are no methods or properties are never among them.
    """
    cls = target if is_a(target, type) else type(target)
    known = _public_parts.get(cls)
    if known is None:
        members = {
            name: value
            for name, (_, value) in attributes_of(cls).items()
            if not is_private_name(name) and (is_a(value, property) or is_method(value))
        }
        if not members:
            return None
        known = _public_parts[cls] = type(f"{cls.__name__} without @expose", (), members)
    return known


# ---------------------------------------------------------------------- ONEWAY_THREADED = False


class _Ordered(Member):
    """A method that runs when the one-way calls before it have run."""

    __slots__ = ()

    @property
    def binds_plainly(self) -> bool:
        return False

    def bind(self, instance: Any) -> Callable[..., Any]:
        method = super().bind(instance)

        def ordered(*args: Any, **kwargs: Any) -> Any:
            _finish_oneway()
            return method(*args, **kwargs)

        return ordered


def put_in_order(entry: Entry) -> None:
    """Have the methods of a registered object run when the one-way calls before them have run."""
    members = {
        name: _Ordered(
            name, METHOD, member.definition, oneway=member.oneway, callback=member.callback
        )
        if member.kind == METHOD
        else member
        for name, member in entry.members.items()
    }
    entry.members = MemberTable(members, *entry.members.made_from)
    entry.methods = {}


def _finish_oneway() -> None:
    """Have the one-way calls run that the client of the running call made before it."""
    client = current_context.client
    if client is None or current_context.msg_flags & ONEWAY:
        return
    loop = client._handler.host._loop
    if not isinstance(loop, Visitor):
        loop.finish_oneway()
        return
    lanes, pause = loop._loop.lanes, Event()
    loop.run_oneway()
    while (loop.has_oneway or loop in lanes._run) and not loop.has_ended:
        pause.wait(_PAUSE_SECONDS)  # another thread runs them, or will do so in its turn
