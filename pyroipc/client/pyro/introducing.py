"""How a proxy introduces itself to a server that is Pyro, and learns what an object exposes.

At an address the introduction is a message of its own, which the server answers with the members
of the object. Over a connected socket there is none, and there is but one for a connection: then
the members are asked for with a call.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from pyroipc.client.requests import take_annotations
from pyroipc.context import context_in_use
from pyroipc.errors import ProtocolError
from pyroipc.protocol.calls import DAEMON_NAME, check_annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyroipc.client.binding import Binding
    from pyroipc.client.pyro.session import PyroSession
    from pyroipc.wire.message import Buffer

__all__ = ["introduce"]

_GROUPS = (list, tuple, set, frozenset)


def introduce(
    proxy: Binding[Any], session: PyroSession, object_id: str, deadline: float | None
) -> Mapping[str, Any]:
    """Introduce a proxy over a new connection; return what its object exposes.

    Args:
        proxy: has the handshake, and looks at the answer of the server.
        session: the connection.
        object_id: of the object.
        deadline: absolute, by the monotonic clock.

    Raises:
        CommunicationError: the server refuses.
        DaemonError: it has no such object.
        ProtocolError: its answer makes no sense.
        Exception: what ``_pyroValidateHandshake`` raised.
    """
    if not session.introduces or session.is_open:
        return _ask(proxy, object_id)
    codec = proxy._pyro_codec(session)
    facts = {"handshake": proxy._pyroHandshake, "object": object_id}
    answer, message = session.introduce(codec, facts, *_from_context(proxy), deadline)
    take_annotations(proxy, message)  # type: ignore[arg-type]
    if type(answer) is dict and {"handshake", "meta"}.issubset(answer):
        proxy._pyroValidateHandshake(answer["handshake"])
        members = answer["meta"]
    else:  # of a Pyro4 that tells no metadata then
        proxy._pyroValidateHandshake(answer)
        members = None
    return _ask(proxy, object_id) if members is None else _checked(members)


def _ask(proxy: Binding[Any], object_id: str) -> Mapping[str, Any]:
    # A list, as Pyro's own proxies send it.
    return _checked(proxy._pyroInvoke("get_metadata", [object_id], {}, 0, DAEMON_NAME))


def _checked(facts: Any) -> Mapping[str, Any]:
    if not isinstance(facts, dict):
        raise ProtocolError("the daemon sent metadata that make no sense")
    names = {key: facts.get(key) or () for key in ("methods", "attrs", "oneway")}
    for group in names.values():
        if not isinstance(group, _GROUPS) or not all(isinstance(name, str) for name in group):
            raise ProtocolError("the daemon sent metadata that make no sense")
    return names


def _from_context(proxy: Binding[Any]) -> tuple[Mapping[str, Buffer], bytes | None]:
    """Return the annotations and the correlation id that go with an introduction."""
    annotations: Mapping[str, Buffer] = proxy._pyroAnnotations()
    correlation_id = None
    context = context_in_use()
    if context is not None:
        correlation_id = context.correlation_bytes
        if context.message is None:
            annotations = {**annotations, **context.annotations}
    check_annotations(annotations)
    return annotations, correlation_id
