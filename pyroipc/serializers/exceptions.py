"""Exceptions <-> plain dicts, and which exception classes may be rebuilt.

The dict has Pyro's shape, with keys of our own that Pyro ignores::

    {"__class__": "<module>.<Name>",      Pyro's errors by their short name, which both Pyros know
     "__exception__": True,
     "args": (...),
     "attributes": {...},                 vars(exception), "__notes__" and "_pyroTraceback" too
     "bases": ["<module>.<Name>", ...],   ours, only when needed: the known part of the ancestry
     "filenames": [name] or [name, name2]} ours, only for an OSError that has them

Rebuilding imports nothing and looks nothing up in a module: a class is taken from a fixed table
(builtins, ``pyroipc.errors``, ``struct.error``, ``zlib.error``, those of an already imported
sqlite3) or from what the application registered.  An ``__init__`` written in Python never runs:
its signature is not known, and its effects belong to the side that raised.  A class that is not
in the table arrives as a stand-in: a subclass of RemoteError and of the nearest known base.
BaseExceptions that are not Exceptions (SystemExit, KeyboardInterrupt) are never rebuilt as such.
"""

from __future__ import annotations

import builtins
import sys

from pyroipc import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Dumps = Callable[[object], object]

__all__ = [
    "OWN_PREFIXES",
    "PYRO_NAMES",
    "base_names",
    "exception_to_dict",
    "known_exception",
    "make_without_init",
    "rebuild_exception",
    "register_exception",
    "safe_text",
    "unregister_exception",
    "wire_name",
]

MAX_STAND_INS = 256
MAX_BASES = 32
MAX_NAME = 256

_BUILTINS: dict[str, type[BaseException]] = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_BUILTIN_CLASSES = frozenset(_BUILTINS.values())
_OWN: dict[str, type[Exception]] = {name: getattr(errors, name) for name in errors.__all__}
PYRO_NAMES = frozenset({
    "PyroError", "CommunicationError", "ConnectionClosedError", "TimeoutError", "ProtocolError",
    "MessageTooLargeError", "SerializeError", "NamingError", "DaemonError", "SecurityError",
})  # fmt: skip
"""The errors of ours that Pyro4 and Pyro5 have as well."""
OWN_PREFIXES = frozenset({"pyroipc.errors", "Pyro5.errors", "Pyro4.errors"})
"""Modules whose classes of such names are ours."""
_SQLITE_NAMES = frozenset({
    "Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError",
    "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError",
})  # fmt: skip

_registered: dict[str, type[Exception]] = {}
_stand_ins: dict[tuple[str, type[Exception]], type[errors.RemoteError]] = {}


# ---------------------------------------------------------------------- what may be rebuilt


def register_exception(cls: type[Exception]) -> None:
    """Allow exceptions of the class *cls* that arrive from a peer to be rebuilt as such.

    The class travels as ``module.Name``; its ``__init__`` is not run, ``args`` and the plain
    attributes are restored.  The registration holds for the whole process.

    Raises:
        TypeError: *cls* is not a subclass of Exception.
    """
    if not (isinstance(cls, type) and issubclass(cls, Exception)):
        raise TypeError(f"only subclasses of Exception can be registered, not {cls!r}")
    _registered[_qualified(cls)] = cls


def unregister_exception(cls: type[Exception]) -> None:
    """Forget a class given to register_exception; an unknown one is ignored."""
    _registered.pop(_qualified(cls), None)


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def known_exception(name: str) -> type[Exception] | None:
    """Find the class that *name* stands for: from the fixed tables, else None."""
    found = _registered.get(name)
    if found is not None:
        return found
    namespace, _, short = name.rpartition(".")
    candidate: Any = None
    if namespace in OWN_PREFIXES:
        candidate = _OWN.get(short)
    elif namespace in {"", "builtins", "exceptions"}:
        candidate = (None if namespace else _OWN.get(short)) or _BUILTINS.get(short)
    elif namespace == "sqlite3":
        module = sys.modules.get("sqlite3")
        candidate = getattr(module, short, None) if short in _SQLITE_NAMES else None
    elif short == "error" and namespace in {"struct", "zlib"}:
        candidate = _standard_error(namespace)
    if isinstance(candidate, type) and issubclass(candidate, Exception):
        return candidate
    return None


def _standard_error(module: str) -> type[Exception]:
    if module == "struct":
        import struct

        return struct.error
    import zlib

    return zlib.error


# ---------------------------------------------------------------------- exception -> dict


def wire_name(cls: type[BaseException]) -> str:
    """Give the name under which a class travels."""
    if issubclass(cls, errors.RemoteError) and cls.remote_class:
        return cls.remote_class
    if cls.__module__ == "pyroipc.errors" and cls.__name__ in PYRO_NAMES:
        return cls.__name__
    return _qualified(cls)


def base_names(cls: type[BaseException]) -> list[str]:
    """Name the ancestors below Exception, unless every peer knows the class itself."""
    if cls in _BUILTIN_CLASSES or (_OWN.get(cls.__name__) is cls and cls.__name__ in PYRO_NAMES):
        return []
    left_out: tuple[type, ...] = (Exception, BaseException)
    if issubclass(cls, errors.RemoteError):  # a stand-in that is passed on
        left_out = errors.RemoteError.__mro__
    return [
        wire_name(base)
        for base in cls.__mro__[1:]
        if issubclass(base, BaseException) and base not in left_out
    ]


def exception_to_dict(exception: BaseException, dumps: Dumps | None = None) -> dict[str, Any]:
    """Describe *exception* as a dict in the shape shown at the top of this module.

    Neither the exception nor its attributes are changed or, but for the dicts, copied.

    Args:
        exception: the exception to describe.
        dumps: tries to encode one value and raises if it cannot.  If given, args and attributes
            that it refuses are replaced by their repr, so that one odd attribute does not hide
            the whole error.
    """
    cls = type(exception)
    args = exception.args
    attributes = dict(vars(exception))
    if dumps is not None:
        args = tuple(_encodable(value, dumps) for value in args)
        attributes = {key: _encodable(value, dumps) for key, value in attributes.items()}
    described: dict[str, Any] = {
        "__class__": wire_name(cls),
        "__exception__": True,
        "args": args,
        "attributes": attributes,
    }
    bases = base_names(cls)
    if bases:
        described["bases"] = bases
    if isinstance(exception, OSError) and isinstance(exception.filename, str):
        names = (exception.filename, exception.filename2)
        described["filenames"] = [name for name in names if isinstance(name, str)]
    return described


def _encodable(value: object, dumps: Dumps) -> object:
    try:
        dumps(value)
    except Exception:  # noqa: BLE001 - any failure means: send its repr instead
        return safe_text(value, repr)
    return value


def safe_text(value: object, show: Callable[[object], str] = str) -> str:
    """Return the ``str`` or ``repr`` of a value, in characters that every format can send."""
    try:
        text = show(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{type(value).__name__} object, its {show.__name__} failed>"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# ---------------------------------------------------------------------- dict -> exception


def rebuild_exception(data: Mapping[str, Any]) -> Exception:
    """Make an exception from its dict; the values inside are taken as they are.

    Always gives an instance of Exception: of the class named, if it may be rebuilt from these
    args, else a stand-in that is a RemoteError.

    Raises:
        SerializeError: the dict does not have the shape of an exception.
    """
    name, args = data.get("__class__"), data.get("args", ())
    if not isinstance(name, str) or not isinstance(args, list | tuple):
        raise errors.SerializeError(
            "an exception in the payload does not have an exception's shape"
        )
    exception = _instance(name, tuple(args), data.get("bases"))
    _set_filenames(exception, data.get("filenames"))
    attributes = data.get("attributes")
    if isinstance(attributes, dict):
        vars(exception).update(_plain_attributes(attributes))
    return exception


def _instance(name: str, args: tuple[object, ...], bases: object) -> Exception:
    for cls in _candidates(name, bases):
        try:
            return make_without_init(cls, args)
        except Exception:  # noqa: BLE001, S112 - what these args do not fit; try the next
            continue
    return make_without_init(_stand_in(name, errors.RemoteError), args)


def _candidates(name: str, bases: object) -> Iterator[type[Exception]]:
    """Yield the classes to try, the nearest first."""
    known = known_exception(name)
    if known is not None:
        yield known
        ancestry: Iterable[type[Exception]] = known.__mro__[1:]
    else:
        ancestry = _known_bases(bases)
    for base in ancestry:
        if issubclass(base, Exception):
            yield _stand_in(name, base)


def _known_bases(bases: object) -> Iterator[type[Exception]]:
    if isinstance(bases, list | tuple):
        for base_name in bases[:MAX_BASES]:
            if isinstance(base_name, str):
                base = known_exception(base_name)
                if base is not None:
                    yield base


def make_without_init(cls: type[Exception], args: tuple[object, ...]) -> Exception:
    """Make an instance through the constructor, written in C, of the nearest builtin base.

    That fills the slots which have no other way in: OSError.errno, StopIteration.value and so on.
    """
    base = next(base for base in cls.__mro__ if base in _BUILTIN_CLASSES)
    if issubclass(base, UnicodeDecodeError | UnicodeEncodeError | UnicodeTranslateError):
        args = _checked_unicode_args(args)
    builtin: Any = base
    exception: Exception = builtin.__new__(cls, *args)
    builtin.__init__(exception, *args)
    return exception


def _checked_unicode_args(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse positions outside the object: CPython's own ``str()`` of the error trusts them.

    Raises:
        ValueError: the positions, or the number of args, are wrong.
    """
    *first, subject, start, end, reason = args
    if isinstance(subject, dict) and subject.get("encoding") == "base64":  # serpent's bytes
        import binascii

        subject = binascii.a2b_base64(subject["data"])
    if not 0 <= start <= end <= len(subject):
        raise ValueError("positions outside of the object")
    return (*first, subject, start, end, reason)


def _stand_in(name: str, base: type[Exception]) -> type[errors.RemoteError]:
    """Make, or take from the cache, the class that stands for the unknown class *name*."""
    name = name if len(name) <= MAX_NAME else name[:MAX_NAME] + "..."
    key = (name, base)
    found = _stand_ins.get(key)
    if found is not None:
        return found
    module, _, short = name.rpartition(".")
    if not short.isidentifier() or not module.replace(".", "").isidentifier():
        module, short = "pyroipc.errors", "RemoteError"
    namespace = {
        "__module__": module,
        "remote_class": name,
        "__reduce__": _reduce,
        "__str__": _remote_text,
    }
    parents = (errors.RemoteError, base)
    if issubclass(errors.RemoteError, base):
        parents = (errors.RemoteError,)  # type: ignore[assignment]
    elif issubclass(base, errors.RemoteError):
        parents = (base,)  # type: ignore[assignment]
    made = type(short, parents, namespace)
    while len(_stand_ins) >= MAX_STAND_INS:
        _stand_ins.pop(next(iter(_stand_ins)), None)
    _stand_ins[key] = made
    return made


def _remote_text(exception: BaseException) -> str:
    """Give the text that the exception had where it was raised, if that is known."""
    text = vars(exception).get("remote_text")
    if isinstance(text, str):
        return text
    stand_in: Any = exception
    inherited: Any = super(errors.RemoteError, stand_in)
    return str(inherited.__str__())


def _reduce(exception: BaseException) -> tuple[Callable[..., Exception], tuple[dict[str, Any]]]:
    """Pickle a stand-in as its description: its class exists in no module."""
    return rebuild_exception, (exception_to_dict(exception),)


def _set_filenames(exception: Exception, names: object) -> None:
    if isinstance(exception, OSError) and isinstance(names, list | tuple):
        for attribute, name in zip(("filename", "filename2"), names, strict=False):
            if isinstance(name, str):
                setattr(exception, attribute, name)


def _plain_attributes(attributes: dict[object, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in attributes.items():
        if type(key) is not str:
            continue
        if not key.startswith("__"):
            yield key, value
        elif key == "__notes__" and isinstance(value, list | tuple):
            yield key, [note for note in value if isinstance(note, str)]
