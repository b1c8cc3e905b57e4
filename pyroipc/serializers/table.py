"""Name or id -> serializer, imported only when it is asked for.

The ids travel in messages and are for ever.  ``trust_of``, ``id_of`` and ``name_of`` answer from
the table alone, so that a serializer that is not accepted is refused before anything of it is
imported.  A new serializer is one file and one line here.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from pyroipc.serializers.base import Serializer

    Trust = Literal["data", "code"]


__all__ = ["get", "get_by_id", "id_of", "name_of", "names", "trust_of"]

#   name           id  trust   module:attribute                                     pip requirement
_TABLE: dict[str, tuple[int, Trust, str, str]] = {
    "serpent": (1, "data", "pyroipc.serializers.serpent:SerpentSerializer", "serpent>=1.41"),
    "marshal": (2, "code", "pyroipc.serializers.marshal:MarshalSerializer", ""),
    "json": (3, "data", "pyroipc.serializers.json:JsonSerializer", ""),
    "msgpack": (4, "data", "pyroipc.serializers.msgpack:MsgpackSerializer", "msgpack>=1.2.3"),
    "pickle": (16, "code", "pyroipc.serializers.pickle:PickleSerializer", ""),
    "cloudpickle": (17, "code", "pyroipc.serializers.pickle:CloudpickleSerializer", "cloudpickle"),
    "dill": (18, "code", "pyroipc.serializers.pickle:DillSerializer", "dill"),
}
_NAMES: dict[int, str] = {row[0]: name for name, row in _TABLE.items()}
_loaded: dict[str, Serializer] = {}


def names() -> tuple[str, ...]:
    """Return the names of all serializers, whether or not their libraries are installed."""
    return tuple(_TABLE)


def get(name: str) -> Serializer:
    """Return the serializer called *name*; every call returns the same instance.

    Raises:
        SerializeError: there is none of that name, or the library it needs is not installed.
    """
    found = _loaded.get(name)
    if found is None:
        found = _loaded.setdefault(name, _load(name))
    return found


def get_by_id(number: int) -> Serializer:
    """Return the serializer that has the id *number*.

    Raises:
        SerializeError: there is none with that id, or the library it needs is not installed.
    """
    return get(name_of(number))


def id_of(name: str) -> int:
    """Return the id of a serializer, without importing it.

    Raises:
        SerializeError: there is none of that name.
    """
    return _row(name)[0]


def trust_of(name: str) -> Trust:
    """Return ``"data"`` or ``"code"`` (decoding may run code or crash), without importing it.

    Raises:
        SerializeError: there is none of that name.
    """
    return _row(name)[1]


def name_of(number: int) -> str:
    """Return the name of the serializer that has the id *number*, without importing it.

    Raises:
        SerializeError: there is none with that id.
    """
    try:
        return _NAMES[number]
    except (KeyError, TypeError):
        known = ", ".join(f"{key} {name}" for key, name in _NAMES.items())
        raise SerializeError(f"unknown serializer id {number!r}; known are: {known}") from None


def _row(name: str) -> tuple[int, Trust, str, str]:
    try:
        return _TABLE[name]
    except (KeyError, TypeError):
        raise SerializeError(_unknown(name)) from None


def _unknown(name: object) -> str:
    import difflib

    close = difflib.get_close_matches(str(name).lower(), _TABLE, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(_TABLE)}"
    return f"unknown serializer {name!r:.100}; {hint}"


def _load(name: str) -> Serializer:
    _, _, where, requirement = _row(name)
    module_name, _, attribute = where.partition(":")
    try:
        made: Serializer = getattr(__import__(module_name, fromlist=(attribute,)), attribute)()
    except ImportError as error:
        if not requirement:
            raise
        raise SerializeError(
            f"the serializer {name!r} cannot be used here ({error}); "
            f'install its library: pip install "{requirement}"'
        ) from error
    return made
