"""What is asked of a name server, in the words that it knows: pyroipc's, Pyro5's or Pyro4's.

===================  ======================  =====================  ==============================
question             pyroipc                 Pyro5                  Pyro4
===================  ======================  =====================  ==============================
where is a name?     ``lookup_text``         ``lookup``             ``lookup``
what has tags?       ``yplookup``            ``yplookup``           ``list(metadata_all=)``
tags in answers      sets                    sets                   lists
how long?            ``register(ttl=)``,     for ever               for ever
                     ``renew``
===================  ======================  =====================  ==============================

With some serializers sets arrive as lists or tuples; here they become sets again. Which methods a
name server has is known once a proxy is bound, and that is all that is looked at: so a name server
that speaks one dialect may have the methods of another.

Those of Pyro that keep names in a file take the characters ``_`` and ``%`` of a prefix for
wildcards, and small letters for capitals. So what they find is looked through once more, and what
is to be removed is named.

What comes back is checked, as anybody may call his object a name server.
"""

# ruff: noqa: SLF001 - what a proxy is made of

from __future__ import annotations

from pyroipc.errors import NamingError
from pyroipc.uri import URI
from pyroipc.wire.dialect import NATIVE, PYRO5

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "has_leases",
    "look_up",
    "look_up_tagged",
    "names",
    "remove_by_prefix",
    "tagged_names",
]

_SHOWN = 100
_AT_ONCE = 200
"""How many names are removed with one request."""


def look_up(proxy: Any, name: str) -> Any:
    """Return the URI of a name, or its text: what the name server sent.

    Args:
        proxy: of the name server; so everywhere here.
        name: the name.

    Raises:
        NamingError: the name is not known, or the answer makes no sense.
    """
    proxy._pyroBind()
    # A plain text travels in half the time of a URI, which is an object.
    method = "lookup_text" if "lookup_text" in proxy._pyroMethods else "lookup"
    return _uri(_ask(proxy, method, (name,)))


def look_up_tagged(proxy: Any, name: str) -> tuple[Any, set[str]]:
    """Return the URI of a name and its tags.

    Raises:
        NamingError: the name is not known, or the answer makes no sense.
    """
    proxy._pyroBind()
    uri, tags = _pair(_ask(proxy, "lookup", (name, True)))
    return _uri(uri), tags


def names(proxy: Any, prefix: object, regex: object, *, with_tags: bool) -> dict[str, Any]:
    """Return names and the texts of their URIs; or pairs of URI and tags.

    Args:
        proxy: of the name server.
        prefix: only names that begin with this; None: any.
        regex: only names that match this; None: any.
        with_tags: the values are pairs.

    Raises:
        NamingError: the pattern cannot be used, or the answer makes no sense.
        ValueError: there are a prefix and a pattern.
    """
    is_ours = has_leases(proxy)
    keywords = {}
    if with_tags:
        keywords["return_metadata"] = True
        if not is_ours and _dialect(proxy) == PYRO5:
            # It has a frozenset where there are no tags. If that does not fit into json or
            # msgpack, it closes the connection without a word.
            proxy = _in_serpent(proxy)
    answer = _ask(proxy, "list", (prefix, regex), keywords)
    found = _checked(proxy, answer, with_tags=with_tags)
    if isinstance(prefix, str) and not is_ours:
        return {name: value for name, value in found.items() if name.startswith(prefix)}
    return found


def remove_by_prefix(proxy: Any, prefix: str) -> int:
    """Remove the entries whose names begin with a prefix, literally; return how many there were.

    Raises:
        NamingError: the answer makes no sense.
        TypeError: the prefix is no text.
    """
    if has_leases(proxy):
        number: int = proxy._pyroInvoke("remove", (None, prefix, None), {})
        return number
    found = list(names(proxy, prefix, None, with_tags=False))
    removed = 0
    for start in range(0, len(found), _AT_ONCE):
        calls: list[Any] = [("remove", (name,), {}) for name in found[start : start + _AT_ONCE]]
        removed += sum(proxy._pyroInvokeBatch(calls))
    return removed


def tagged_names(proxy: Any, tags_all: Any, tags_any: Any, *, with_tags: bool) -> dict[str, Any]:
    """Return what :func:`names` returns, of the entries with all of some tags, or any of them.

    Args:
        proxy: of the name server.
        tags_all: a list, or None; what else is given is for the name server to complain about.
        tags_any: as before.
        with_tags: the values are pairs.

    Raises:
        NamingError: the answer makes no sense.
        TypeError: the tags are no texts.
        ValueError: both were given.
    """
    proxy._pyroBind()
    # Those of Pyro that keep names in a file find nothing if a tag is there twice.
    tags_all, tags_any = _once(tags_all), _once(tags_any)
    if "yplookup" in proxy._pyroMethods:
        found = _ask(proxy, "yplookup", (tags_all, tags_any, with_tags))
        return _checked(proxy, found, with_tags=with_tags)
    if tags_all is not None and tags_any is not None:
        raise ValueError("you can't use meta_all and meta_any at the same time")
    tags = tags_any if tags_all is None else tags_all
    if not tags:  # which means everything there
        return {}
    keywords = {"metadata_any" if tags_all is None else "metadata_all": tags}
    if with_tags:
        keywords["return_metadata"] = True
    return _checked(proxy, _ask(proxy, "list", (), keywords), with_tags=with_tags)


def has_leases(proxy: Any) -> bool:
    """Say whether a name server has entries that go by themselves."""
    proxy._pyroBind()
    return "renew" in proxy._pyroMethods


def _ask(
    proxy: Any, method: str, args: tuple[Any, ...], keywords: dict[str, Any] | None = None
) -> Any:
    if method not in proxy._pyroMethods and proxy._pyroMethods:
        raise NamingError(
            f"the object {proxy._pyroObjectId!r} at {proxy._pyroUri.location} is no name server: "
            f"it has no method {method!r}"
        )
    return proxy._pyroInvoke(method, args, keywords or {})


def _in_serpent(proxy: Any) -> Any:
    """Return a proxy that shares the connection, with another serializer."""
    twin = proxy.__copy__()
    twin.__dict__["_pyro_line"] = proxy._pyro_line
    twin._pyroSerializer = "serpent"
    return twin


def _once(tags: Any) -> Any:
    if type(tags) is list and _are_texts(tags):
        return list(dict.fromkeys(tags))
    return tags


def _dialect(proxy: Any) -> str:
    session = proxy._pyro_session
    dialect: str = NATIVE if session is None else session.dialect
    return dialect


def _checked(proxy: Any, found: Any, *, with_tags: bool) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise NamingError(f"the name server gave no names, but {found!r:.{_SHOWN}}")
    if with_tags and _dialect(proxy) != NATIVE:
        return {name: _pair(value) for name, value in found.items()}
    return found


def _uri(value: Any) -> Any:
    """Return a URI, or its text.

    Raises:
        NamingError: it is none.
    """
    if isinstance(value, str | URI):
        return value
    raise NamingError(f"the name server gave no URI, but {value!r:.{_SHOWN}}")


def _pair(value: Any) -> tuple[Any, set[str]]:
    """Return a URI and its tags, which are a set.

    Raises:
        NamingError: these are none.
    """
    match value:
        case [uri, set() | frozenset() | list() | tuple() as tags] if _are_texts(tags):
            return uri, set(tags)
    raise NamingError(f"the name server gave no URI with tags, but {value!r:.{_SHOWN}}")


def _are_texts(tags: Iterable[object]) -> bool:
    return all(isinstance(tag, str) for tag in tags)
