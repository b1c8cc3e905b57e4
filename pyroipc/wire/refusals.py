"""What a client is told, in its own dialect, when it is not let in before anything was said."""

from __future__ import annotations

from pyroipc.wire import pyro4, pyro5

__all__ = ["connect_failure"]

_FIRST_OF_PYRO5 = 500


def connect_failure(version: int, text: str, request_id: int = 0) -> bytes:
    """Encode that a client is not let in, so that a client of this version can read it.

    Versions that no Pyro had get the answer in the layout of the nearest one that did.

    Args:
        version: of Pyro's protocol, as the client sent it.
        text: why, for people.
        request_id: the sequence number that the client gave.
    """
    if version < _FIRST_OF_PYRO5:
        return pyro4.encode_failure(text, request_id, version)
    return pyro5.encode_failure(text, request_id, version)
