"""How a proxy introduces itself to a server that is Pyro, and learns what an object exposes.

At an address the introduction is a message of its own, which the server answers with the members
of the object. Over a connected socket there is none: the members are asked for with a call.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

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
    if not session.introduces:
        return _ask(proxy, object_id)
    codec = proxy._pyro_codec(session)
    annotations = _annotations(proxy)
    handshake = proxy._pyroHandshake
    answer = session.introduce(codec, object_id, handshake, annotations, deadline)
    if type(answer) is dict and {"handshake", "meta"}.issubset(answer):
        facts = answer["meta"]
        proxy._pyroValidateHandshake(answer["handshake"])
    else:  # of a Pyro4 that was asked for no metadata, or has none
        facts = None
        proxy._pyroValidateHandshake(answer)
    if facts is None:
        facts = _ask(proxy, object_id)
    return _checked(facts)


def _ask(proxy: Binding[Any], object_id: str) -> Mapping[str, Any]:
    # A list, as Pyro's own proxies send it.
    return _checked(proxy._pyroInvoke("get_metadata", [object_id], {}, 0, DAEMON_NAME))


def _checked(facts: Any) -> Mapping[str, Any]:
    if not isinstance(facts, dict):
        raise ProtocolError("the daemon sent metadata that make no sense")
    names = {key: facts.get(key) or () for key in ("methods", "attrs", "oneway")}
    for group in names.values():
        if isinstance(group, str) or not all(isinstance(name, str) for name in group):
            raise ProtocolError("the daemon sent metadata that make no sense")
    return names


def _annotations(proxy: Binding[Any]) -> Mapping[str, Buffer]:
    annotations: Mapping[str, Buffer] = proxy._pyroAnnotations()
    context = context_in_use()
    if context is not None and context.message is None:
        annotations = {**annotations, **context.annotations}
    check_annotations(annotations)
    return annotations
