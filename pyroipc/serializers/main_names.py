"""Which classes and functions of ``__main__`` a peer has too, because it is a fork of us.

Pickle sends a class or function as the name of its module and its own name. For ``__main__``
that is right only if the peer runs the same ``__main__``: if the two processes are forks of one
interpreter image, and if the name was there already when their histories parted. Then the name
is even the better way: both ends keep one class, so ``isinstance`` and ``except`` work. In all
other cases the class has to travel by value.

**Who is related.** An interpreter draws a random *token* when this module is loaded; forks
inherit it. A counter, the *generation*, grows by one before each fork, and goes on growing in
the child from where it was. A process remembers its *lineage*: for each fork between the first
process of the image and itself, the generation and the process id that the child got. Of two
lineages with the same token the common beginning names the common ancestor; the smaller of the
two generations that follow is the moment when the histories parted:

=====================  ==================  ==================  ========================
who talks to whom      our lineage         their lineage       what both have
=====================  ==================  ==================  ========================
parent, older child    ()                  (3, a)              until generation 3
parent, newer child    ()                  (5, b)              until generation 5
child, parent          (3, a)              ()                  until generation 3
sibling, sibling       (3, a)              (5, b)              until generation 3
child, grandchild      (3, a)              (3, a) (4, c)       until generation 4
nephew, uncle          (3, a) (4, c)       (5, b)              until generation 3
one process            (3, a)              (3, a)              everything
=====================  ==================  ==================  ========================

**Who has what.** Before each fork the names of the classes and functions in ``__main__`` are
noted with the generation in which they were first seen; the notes hold weak references only. A
class made in a function travels by value with a hint: its address and name, by which a process
that shares the fork finds the class that it has already. Nothing is noted for that: walking over
all classes before each fork cost 0.2 to 0.6 ms, because it writes to their pages.

What a session does with this: it sends :func:`image_identity` in its hello, and hands the text
that it got to :func:`peer_image`; the result goes to ``Serializer.for_connection``.

This module must be loaded before a process forks, or parent and child count as strangers. It
imports next to nothing, so that ``import pyroipc`` can load it.
"""

from __future__ import annotations

import os
import sys
from _weakref import ref  # the C part alone: the module weakref is not loaded in every program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyroipc.serializers.base import PeerImage

__all__ = [
    "EVERYTHING",
    "MAIN_MODULES",
    "common_generation",
    "find_local_class",
    "generation",
    "image_identity",
    "image_token",
    "known_by_reference",
    "known_local_class",
    "lineage",
    "peer_image",
]

MAIN_MODULES = frozenset({"__main__", "__mp_main__"})
"""The names under which a process knows its main module (the second is multiprocessing's)."""

EVERYTHING = sys.maxsize
"""The generation of a peer that is this very process: it has all that we have."""

_MAX_FORKS = 64  # a longer lineage starts over, so that a hello stays small
_MAX_IDENTITY_CHARACTERS = 4096


# Slots of ``type`` itself, because a metaclass may have attributes of the same names.
_qualname_of = type.__dict__["__qualname__"].__get__
_namespace_of = type.__dict__["__dict__"].__get__
_Function = type(lambda: None)  # types.FunctionType; the module types need not be loaded


class _Image:
    """What this process knows about its own descent. There is one, made at import."""

    __slots__ = ("generation", "lineage", "names", "pid", "token")

    def __init__(self) -> None:
        self.token = os.urandom(16).hex()
        self.pid = os.getpid()
        self.lineage: tuple[tuple[int, int], ...] = ()
        self.generation = 0
        self.names: dict[str, tuple[ref[object], int]] = {}

    def start_over(self) -> None:
        """Become the first process of an image of our own."""
        self.__init__()  # type: ignore[misc]

    def before_fork(self) -> None:
        """Note what the child is about to inherit."""
        self._check_process()
        self.generation += 1
        main = sys.modules.get("__main__")
        if main is not None:
            self._note_names("", list(main.__dict__.items()), MAIN_MODULES)

    def after_fork_in_child(self) -> None:
        """Add the fork that made this process to the lineage."""
        if len(self.lineage) >= _MAX_FORKS:
            self.start_over()
            return
        self.pid = os.getpid()
        self.lineage += ((self.generation, self.pid),)

    def _check_process(self) -> None:
        """Start over in a child of a fork that ran no hooks (one made by C code)."""
        if self.pid != os.getpid():
            self.start_over()

    def identity(self) -> str:
        self._check_process()
        forks = "/".join(f"{number}.{pid}" for number, pid in self.lineage)
        return f"{self.token}:{forks}"

    def _note_names(
        self, prefix: str, items: list[tuple[str, object]], modules: frozenset[str]
    ) -> None:
        for key, thing in items:
            is_class = issubclass(type(thing), type)  # isinstance would ask the thing itself
            if not is_class and type(thing) is not _Function:
                continue
            name = prefix + key
            if getattr(thing, "__qualname__", None) != name:
                continue  # an import, or a second name for something
            if getattr(thing, "__module__", None) not in modules:
                continue
            known = self.names.get(name)
            if known is not None and known[0]() is thing:
                continue
            self.names[name] = (ref(thing), self.generation)
            if is_class:
                self._note_names(f"{name}.", list(_namespace_of(thing).items()), modules)


_image = _Image()


def _before_fork() -> None:
    try:
        _image.before_fork()
    except Exception:  # noqa: BLE001 - a strange class; the fork happens anyway
        _image.names.clear()  # what is not noted travels by value, which is always right


def _after_fork_in_child() -> None:
    _image.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def image_token() -> str:
    """Return the random name of the interpreter image: 32 hex digits, equal in all its forks."""
    return _image.identity().partition(":")[0]


def lineage() -> tuple[tuple[int, int], ...]:
    """Return (generation, process id) of each fork from the image's first process to this one."""
    return _image.lineage


def generation() -> int:
    """Return how many forks the memory of this process has seen.

    In a new child this is the number of the fork that made it.
    """
    return _image.generation


def image_identity() -> str:
    """Return token and lineage as one text of a few dozen characters, for the hello message.

    ::

        0f3a...c2:3.4711/4.4712       token ":" generation "." pid "/" generation "." pid ...
    """
    return _image.identity()


def child_identity(pid: int) -> str:
    """Return the :func:`image_identity` of a child that was forked just now.

    Args:
        pid: the child; this process has not forked again since.
    """
    if len(_image.lineage) >= _MAX_FORKS:
        return ""  # it started over, and is a stranger
    own = _image.identity()
    return f"{own}{'/' if _image.lineage else ''}{_image.generation}.{pid}"


def common_generation(
    ours: tuple[tuple[int, int], ...], theirs: tuple[tuple[int, int], ...]
) -> int:
    """Return the generation until which two processes of one image have one history.

    Args:
        ours: the lineage of one process.
        theirs: the lineage of the other; the order does not matter.

    Returns:
        The generation, or :data:`EVERYTHING` if both are the same process.
    """
    for our_fork, their_fork in zip(ours, theirs, strict=False):
        if our_fork != their_fork:
            return min(our_fork[0], their_fork[0])
    shared = min(len(ours), len(theirs))
    rest = ours[shared:] or theirs[shared:]
    return rest[0][0] if rest else EVERYTHING


def peer_image(identity: str | None) -> PeerImage:
    """Work out what the peer has in common with this process.

    Args:
        identity: what the peer's :func:`image_identity` returned, as its hello brought it. Text
            that is missing or that is not such an identity counts as a stranger's.

    Returns:
        A PeerImage for ``Serializer.for_connection``; true for the life of the connection.
    """
    from pyroipc.serializers.base import PeerImage

    own_token, _, _ = _image.identity().partition(":")
    if isinstance(identity, str) and len(identity) <= _MAX_IDENTITY_CHARACTERS:
        token, _, forks = identity.partition(":")
        theirs = _parse_lineage(forks) if token == own_token else None
        if theirs is not None:
            return PeerImage(
                shares_main=True, generation=common_generation(_image.lineage, theirs)
            )
    return PeerImage(shares_main=False, generation=0)


def _parse_lineage(text: str) -> tuple[tuple[int, int], ...] | None:
    if not text:
        return ()
    try:
        pairs = [fork.split(".") for fork in text.split("/")]
        return tuple((int(number), int(pid)) for number, pid in pairs)
    except ValueError:
        return None


def known_by_reference(obj: object, generation: int) -> bool:
    """Tell whether a class or function of ``__main__`` can go to a peer as its name.

    It can if the peer has it under that name, and if it still has that name here.

    Args:
        obj: a class or a function whose ``__module__`` is in :data:`MAIN_MODULES`.
        generation: ``PeerImage.generation`` of a peer that shares our ``__main__``.
    """
    name = getattr(obj, "__qualname__", "")
    if generation != EVERYTHING:
        noted = _image.names.get(name)
        if noted is None or noted[1] > generation or noted[0]() is not obj:
            return False
    found: object = sys.modules.get("__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


def known_local_class(cls: type) -> tuple[int, str, str] | None:
    """Say how a fork of this process recognises a class that was made in a function.

    Returns:
        Address, module and qualified name, for :func:`find_local_class` in the peer; None if the
        class was made elsewhere.
    """
    qualname = _qualname_of(cls)
    if "<locals>" not in qualname:
        return None
    return id(cls), str(getattr(cls, "__module__", "")), qualname


def find_local_class(address: int, module: str, qualname: str) -> type | None:
    """Return the class that :func:`known_local_class` described in a peer that shares our image.

    A fork keeps classes at their addresses. One that was made since then on either side is
    elsewhere, or has another name; at worst it was made by the same statement.

    Returns:
        The class, or None if there is none such here.
    """
    for cls in _local_classes():
        if id(cls) == address and known_local_class(cls) == (address, module, qualname):
            return cls
    return None


def _local_classes() -> Iterator[type]:
    """Yield classes made in functions: children of object and of exceptions, and theirs."""
    subclasses = type.__subclasses__
    seen: set[type] = set()
    pending = [cls for cls in subclasses(object) if "<locals>" in _qualname_of(cls)]
    pending.append(BaseException)
    while pending:
        cls = pending.pop()
        if cls not in seen:
            seen.add(cls)
            pending += subclasses(cls)
            if "<locals>" in _qualname_of(cls):
                yield cls
