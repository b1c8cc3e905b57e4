"""Signatures and docstrings of exposed members, as text that can travel."""

from __future__ import annotations

import inspect

from pyroipc.server.exposure import METHOD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.server.registry import Entry


def document(entry: Entry) -> dict[str, dict[str, str]]:
    """Describe the members of an entry.

    Returns:
        ``signatures``: method name to the text of its signature, without ``self``; ``docs``:
        member name to its docstring. What has none is left out.
    """
    signatures = {}
    docs = {}
    for name, member in entry.members.items():
        described = member.definition
        if member.kind == METHOD:
            described = getattr(entry.cls, name, member.definition)
            text = _signature(described, is_bound=_binds_nothing(member.definition))
            if text is not None:
                signatures[name] = text
        doc = inspect.getdoc(described)
        if doc:
            docs[name] = doc
    return {"signatures": signatures, "docs": docs}


def _binds_nothing(definition: object) -> bool:
    """Say whether the method, taken from the class, has no ``self`` in its signature."""
    return isinstance(definition, staticmethod | classmethod)


def _signature(function: object, *, is_bound: bool) -> str | None:
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    if not is_bound and parameters and parameters[0].kind in _POSITIONAL:
        parameters = parameters[1:]
    return str(signature.replace(parameters=parameters))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
