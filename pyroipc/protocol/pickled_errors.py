"""Exceptions in the pickle family: described part by part, rebuilt without their ``__init__``.

Pickle itself rebuilds an exception by calling its class with its ``args``, which fails for every
class whose ``__init__`` wants something else, and it forgets causes and tracebacks. So an
exception travels as plain dicts and bytes::

    (FORMAT, node, traceback lines)

=============  ============================================================================
key of a node  value
=============  ============================================================================
``class``      (module, qualified name)
``bases``      the same for its ancestors, the nearest first, without object
``pickle``     the pickled class, or None if it cannot be pickled
``text``       ``str(exception)``
``args``       a list of parts
``state``      attributes: {name: part}
``slots``      values of ``__slots__`` and of the slots of builtin classes: {name: part}
``suppress``   ``__suppress_context__``
``cause``      a node, or None; so ``context``
``members``    nodes: the exceptions of a group, else None; ``message`` is the group's own
=============  ============================================================================

A part is ``(value,)`` for a plain value, else ``(pickled bytes or None, text)``; the text stands
in for what cannot be pickled here or loaded there. Parts are pickled one by one: an object that
is in two of them arrives as two.
"""

from __future__ import annotations

import builtins
import sys

from pyroipc.errors import RemoteError, SerializeError
from pyroipc.protocol.tracebacks import RemoteTraceback, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    from pyroipc.serializers.base import Serializer

    Node: TypeAlias = dict[str, Any]
    Part: TypeAlias = tuple[Any, ...]

__all__ = ["FORMAT", "dump_pickled", "load_pickled"]

FORMAT = "pyroipc error 1"

_FAILURES = (Exception, SystemExit, GeneratorExit)
_PLAIN = frozenset({bytes, str, int, float, bool, complex, type(None)})
_MAX_NODES = 100
_MAX_TEXT = 2000
_MAX_STAND_INS = 256

# What builtin classes keep outside of __dict__. Not AttributeError.obj: it is the very object
# that lacked the attribute, and sending that is more than anybody asked for.
_SLOTS: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("errno", "strerror", "filename", "filename2", "characters_written"),
    ImportError: ("msg", "name", "path", "name_from"),
    AttributeError: ("name",),
    NameError: ("name",),
    StopIteration: ("value",),
    SystemExit: ("code",),
    SyntaxError: (
        "msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset",
        "print_file_and_line",
    ),
    UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeEncodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeTranslateError: ("object", "start", "end", "reason"),
}  # fmt: skip

# A class may have attributes of these names; these are the slots that Python itself uses.
_args_slot = BaseException.__dict__["args"]
_dict_slot = BaseException.__dict__["__dict__"]
_cause_slot = BaseException.__dict__["__cause__"]
_context_slot = BaseException.__dict__["__context__"]
_suppress_slot = BaseException.__dict__["__suppress_context__"]

_stand_ins: dict[tuple[str, type[Exception]], type[RemoteError]] = {}


# ------------------------------------------------------------------------------------- describing


def dump_pickled(exception: BaseException, serializer: Serializer, lines: list[str]) -> bytes:
    """Encode an exception with a serializer of the pickle family.

    Raises:
        SerializeError: not even a description of plain texts can be pickled.
    """
    try:
        node = _Describer(serializer).describe(exception)
        return serializer.dumps((FORMAT, node, lines))
    except _FAILURES:
        cls = type(exception)
        bare = {"class": _name(cls), "bases": _names(cls), "text": text_of(exception)}
        return serializer.dumps((FORMAT, bare, lines))


class _Describer:
    """Describes one exception with all that belongs to it, a bounded number of them."""

    def __init__(self, serializer: Serializer) -> None:
        self._dumps = serializer.dumps
        self._seen: set[int] = set()

    def describe(self, exception: BaseException) -> Node:
        self._seen.add(id(exception))
        cls = type(exception)
        remote_class = str(cls.__dict__.get("remote_class", ""))
        unknown_here = issubclass(cls, RemoteError) and remote_class != ""
        node: Node = {
            "class": remote_class.rpartition(".")[::2] if unknown_here else _name(cls),
            "bases": _names(cls),
            "pickle": None if unknown_here else self._pickled(cls),
            "text": text_of(exception),
            "args": [self._part(value) for value in _args_slot.__get__(exception)],
            "state": self._parts(_state_of(exception)),
            "slots": self._parts(_slots_of(exception)),
            "suppress": _suppress_slot.__get__(exception),
        }
        self._add_relatives(node, exception)
        return node

    def _add_relatives(self, node: Node, exception: BaseException) -> None:
        cause: BaseException | None = _cause_slot.__get__(exception)
        context: BaseException | None = _context_slot.__get__(exception)
        if isinstance(cause, RemoteTraceback):  # its text is among the lines
            told = cause
            cause, context = told.remote_cause, told.remote_context
        node["cause"] = self._relative(cause)
        node["context"] = None if cause is not None else self._relative(context)
        if isinstance(exception, BaseExceptionGroup):
            node["args"] = []
            node["message"] = exception.message
            members = [self._relative(member) for member in exception.exceptions]
            node["members"] = [member for member in members if member is not None]

    def _relative(self, exception: BaseException | None) -> Node | None:
        if exception is None or id(exception) in self._seen or len(self._seen) >= _MAX_NODES:
            return None
        return self.describe(exception)

    def _parts(self, values: dict[str, object]) -> dict[str, Part]:
        return {name: self._part(value) for name, value in values.items() if type(name) is str}

    def _part(self, value: object) -> Part:
        if type(value) in _PLAIN:
            return (value,)
        pickled = self._pickled(value)
        if pickled is None:
            return None, text_of(value, as_repr=True)[:_MAX_TEXT]
        cls = type(value)
        return pickled, f"<{cls.__module__}.{cls.__qualname__} object, it cannot be loaded here>"

    def _pickled(self, value: object) -> bytes | None:
        try:
            return self._dumps(value)
        except _FAILURES:
            return None


def _name(cls: type) -> tuple[str, str]:
    return str(cls.__module__), str(cls.__qualname__)


def _names(cls: type) -> list[tuple[str, str]]:
    ancestors = cls.__mro__[1:-1]
    return [_name(base) for base in ancestors if not issubclass(RemoteError, base)]


def _state_of(exception: BaseException) -> dict[str, object]:
    state = dict(_dict_slot.__get__(exception))
    state.pop("_pyroTraceback", None)
    state.pop("remote_text", None)
    return state


def _slots_of(exception: BaseException) -> dict[str, object]:
    """Collect what an exception keeps outside of its ``__dict__``."""
    values: dict[str, object] = {}
    for cls in type(exception).__mro__:
        builtin = _SLOTS.get(cls, ())
        for name in builtin or _own_slots(cls):
            try:
                value = cls.__dict__[name].__get__(exception)
            except (AttributeError, KeyError):
                continue  # not set, or not in this version of Python
            # A builtin slot that was never set reads as None, but is another thing: an OSError
            # whose filename2 was set to None shows it.
            if value is not None or not builtin:
                values[name] = value
    return values


def _own_slots(cls: type) -> Iterator[str]:
    slots = cls.__dict__.get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        if name.startswith("__"):
            if name.endswith("__"):
                continue
            name = f"_{cls.__name__.lstrip('_')}{name}"  # as the compiler does
        yield name


# ------------------------------------------------------------------------------------- rebuilding


def load_pickled(
    payload: object, serializer: Serializer
) -> tuple[Exception, object, BaseException | None, BaseException | None]:
    """Rebuild an exception from what was in a payload.

    Returns:
        The exception, the lines of its traceback, its remote cause and its remote context.

    Raises:
        SerializeError: the payload does not describe an exception.
    """
    if isinstance(payload, tuple) and len(payload) == 3 and payload[0] == FORMAT:
        _, node, lines = payload
        rebuilder = _Rebuilder(serializer)
        try:
            exception = rebuilder.rebuild(node)
            cause, context = rebuilder.relatives(node)
        except _FAILURES as failure:
            raise SerializeError(
                f"the description of a remote exception cannot be read: {failure!r}"
            ) from failure
        return exception, lines, cause, context
    raise SerializeError(
        f"an exception was expected in an error response, a {type(payload).__name__} came"
    )


class _Rebuilder:
    """Makes exceptions from nodes."""

    def __init__(self, serializer: Serializer) -> None:
        self._loads = serializer.loads

    def rebuild(self, node: Node) -> Exception:
        """Make the exception of one node; its cause and context are left to the caller."""
        cls, is_known = self._class_of(node)
        members = node.get("members")
        if members is not None and issubclass(cls, BaseExceptionGroup):
            inner = [self._rebuild_whole(member) for member in members]
            exception = _make_group(cls, node.get("message"), inner, node["text"])
        else:
            args = [self._value(part) for part in node.get("args", [(node["text"],)])]
            exception = _make(cls, args)
        state = {name: self._value(part) for name, part in node.get("state", {}).items()}
        slots = {name: self._value(part) for name, part in node.get("slots", {}).items()}
        _fill(exception, state, slots)
        if not is_known:
            _dict_slot.__get__(exception)["remote_text"] = node["text"]
        return exception

    def relatives(self, node: Node) -> tuple[Exception | None, Exception | None]:
        """Make cause and context of the exception of one node."""
        cause, context = node.get("cause"), node.get("context")
        return (
            None if cause is None else self._rebuild_whole(cause),
            None if context is None else self._rebuild_whole(context),
        )

    def _rebuild_whole(self, node: Node) -> Exception:
        exception = self.rebuild(node)
        cause, context = self.relatives(node)
        _context_slot.__set__(exception, context)
        if cause is not None:
            _cause_slot.__set__(exception, cause)
        _suppress_slot.__set__(exception, bool(node.get("suppress")))
        return exception

    def _value(self, part: Part) -> object:
        if len(part) == 1:
            return part[0]
        pickled, text = part
        if pickled is None:
            return text
        try:
            return self._loads(pickled)
        except SerializeError:
            return text

    def _class_of(self, node: Node) -> tuple[type[Exception], bool]:
        """Return the class to use, and whether it is the one that was raised."""
        cls = self._unpickled_class(node)
        if cls is not None and issubclass(cls, Exception):
            return cls, True
        if cls is BaseExceptionGroup:
            return ExceptionGroup, True  # all members are Exceptions by now
        name = ".".join(node["class"])
        known = cls.__mro__ if cls is not None else _find(node["bases"])
        for base in known:
            if base is BaseExceptionGroup:
                base = ExceptionGroup  # the nearest that is an Exception
            if issubclass(base, Exception):
                made = _stand_in(name, base)
                if made is not None:
                    return made, False
        return _stand_in(name, Exception) or RemoteError, False

    def _unpickled_class(self, node: Node) -> type[BaseException] | None:
        pickled = node.get("pickle")
        if pickled is None:
            return None
        try:
            cls = self._loads(pickled)
        except SerializeError:
            return None
        if issubclass(type(cls), type) and issubclass(cls, BaseException):  # type: ignore[arg-type]
            return cls  # type: ignore[return-value]
        return None


def _find(names: Iterable[tuple[str, str]]) -> Iterator[type]:
    """Yield those of the named classes that are loaded in this process."""
    for module, qualname in names:
        found: object = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            yield found


def _make(cls: type[Exception], args: list[Any]) -> Exception:
    """Make an instance by the constructor of the nearest class that is not written in Python.

    That one fills the slots of its own from the args, and knows no more about the class.
    """
    maker: Any = next(base for base in cls.__mro__ if getattr(builtins, base.__name__, 0) is base)
    try:
        exception: Exception = maker.__new__(cls, *args)
        maker.__init__(exception, *args)
    except _FAILURES:
        # These args do not suit it: the class calls super().__init__ with others.
        exception = maker.__new__(cls)
    _args_slot.__set__(exception, args)
    return exception


def _make_group(
    cls: type[Exception], message: object, members: list[Exception], text: str
) -> Exception:
    if not members:  # there were too many to describe; a group cannot be empty
        members = [RemoteError("the members of this group were not sent")]
    try:
        return BaseExceptionGroup.__new__(cls, str(message), members)  # type: ignore[type-var]
    except _FAILURES:
        return ExceptionGroup(text, members)


def _fill(exception: Exception, state: dict[str, object], slots: dict[str, object]) -> None:
    """Restore the attributes, without any ``__setattr__`` written in Python."""
    attributes: dict[str, object] = _dict_slot.__get__(exception)
    attributes.update(state)
    for name, value in slots.items():
        try:
            object.__setattr__(exception, name, value)
        except _FAILURES:
            attributes.setdefault(name, value)


def _stand_in(name: str, base: type[Exception]) -> type[RemoteError] | None:
    """Return a class for what is unknown here: a RemoteError that is also a *base*."""
    made = _stand_ins.get((name, base))
    if made is None:
        module, _, short = name.rpartition(".")
        parents: tuple[type, ...] = (RemoteError, base)
        if issubclass(RemoteError, base):
            parents = (RemoteError,)
        elif issubclass(base, RemoteError):
            parents = (base,)
        namespace = {"__module__": module, "remote_class": name, "__str__": _remote_text}
        try:
            made = type(short, parents, namespace)
        except _FAILURES:
            return None  # a base that does not want to be one; the next may
        if len(_stand_ins) >= _MAX_STAND_INS:
            _stand_ins.clear()
        _stand_ins[name, base] = made
    return made


def _remote_text(self: BaseException) -> str:
    return str(_dict_slot.__get__(self).get("remote_text", ""))
