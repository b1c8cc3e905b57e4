"""Values that travel as descriptors beside the payload: open files, sockets, shared memory.

Rooms above say what such values are: they put a function that recognises them into
:data:`recognisers`, by the name of the class, and one that makes them into :data:`makers`, by the
kind. A value that is recognised becomes a :class:`Passenger`: what holds the descriptor, and plain
data that say what it is. In the payload stands the number of the descriptor beside that message,
the kind, and the data. What arrives beside a message is a *parcel*; it is there for as long as the
payload is being read (:func:`arriving`).
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from pyroipc.errors import SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    from pyroipc.serializers.base import References
    from pyroipc.serializers.parts import Stow

    class Holder(Protocol):
        """What keeps a descriptor open until it is sent."""

        def fileno(self) -> int:
            """Return the descriptor."""
            ...

    class Parcel(Protocol):
        """The descriptors that came beside a message."""

        kept: dict[int, Any]
        """What was made of them and may be named again, by their numbers."""
        loans: Any
        """Where shared memory among them may be kept; None: nowhere."""

        def take(self, index: int) -> int:
            """Give a descriptor to the caller, who closes it."""
            ...

    Recogniser: TypeAlias = Callable[[Any], "Passenger | None"]
    Maker: TypeAlias = Callable[[Parcel, int, Any], object]


__all__ = [
    "Passenger",
    "arrived",
    "arriving",
    "board",
    "encoded_unheld",
    "find",
    "is_held",
    "knows",
    "late_types",
    "makers",
    "rebuilders_of_passengers",
    "recognisers",
]

recognisers: dict[tuple[str, str], Recogniser] = {}
"""Module and qualified name of a class -> what says whether a value of it travels so."""
makers: dict[str, Maker] = {}
"""Kind -> what makes the value of its descriptor and its data; it owns the descriptor."""
late_types: dict[str, Callable[[], object]] = {}
"""Module -> called once it is there, it has pickle look at those of its classes that it would take
for ordinary ones, and send with the number of a descriptor."""
_IN_BAND = (
    "there is no place for a descriptor here: not in an exception or the results of a batch, "
    "not where messages are compressed, and not towards a peer of an older version"
)


class Passenger:
    """A value that travels as a descriptor.

    Args:
        kind: by which the receiver makes it.
        holder: keeps the descriptor open.
        data: returns what else the receiver has to know; plain.
        what: that value, for people; None: it may be copied if it cannot travel so.
    """

    __slots__ = ("data", "holder", "kind", "what")

    def __init__(
        self, kind: str, holder: Holder, data: Callable[[], Any], what: str | None = None
    ) -> None:
        self.kind = kind
        self.holder = holder
        self.data = data
        self.what = what


def knows(cls: type) -> bool:
    """Say whether values of a class may travel so."""
    return (cls.__module__, cls.__qualname__) in recognisers


def find(value: Any) -> Passenger | None:
    """Return how a value travels as a descriptor; None: it does not.

    Raises:
        SerializeError: it should, but cannot, being closed for instance.
    """
    cls = type(value)
    recognise = recognisers.get((cls.__module__, cls.__qualname__))
    return None if recognise is None else recognise(value)


def board(
    passenger: Passenger, stow: Stow | None, references: References | None
) -> list[Any] | None:
    """Have a value travel as a descriptor.

    Args:
        passenger: that value.
        stow: takes it; None: there is no place for it.
        references: of the connection.

    Returns:
        What :func:`arrived` makes it of; None: it is to be copied.

    Raises:
        SerializeError: it can neither travel nor be copied.
        CommunicationError: the peer could not be told.
    """
    why_not = _IN_BAND if references is None else references.why_not_carried()
    if why_not is None and stow is None:
        why_not = _IN_BAND
    if why_not is None:
        assert stow is not None
        assert references is not None
        references.begin_to_carry()
        return [stow.load(passenger.holder), passenger.kind, passenger.data()]
    if passenger.what is None:
        return None
    raise SerializeError(f"{passenger.what} cannot be sent: {why_not}")


_is_held: ContextVar[bool] = ContextVar("pyroipc_is_held", default=True)


def is_held() -> bool:
    """Say whether somebody holds what this thread encodes until it has been read."""
    return _is_held.get()


def encoded_unheld(dumps: Callable[..., Any], *args: Any) -> Any:
    """Encode what nobody holds until it is read: shared memory in it is not just named.

    Whoever does not wait for the answer may let go of the memory before the peer has read where
    it lies. That is said in a context of its own, which an exception of a signal handler leaves.

    Args:
        dumps: what encodes.
        args: its arguments.
    """
    return copy_context().run(_encoded_unheld, dumps, args)


def _encoded_unheld(dumps: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    _is_held.set(False)
    return dumps(*args)


_parcel: ContextVar[Any] = ContextVar("pyroipc_parcel", default=None)


class arriving:  # noqa: N801 - it is used like a function
    """Have what is read meanwhile find the descriptors of its message; a context manager.

    Args:
        parcel: those; None: there are none.
    """

    __slots__ = ("_before", "_parcel")

    def __init__(self, parcel: Any) -> None:
        self._parcel = parcel

    def __enter__(self) -> None:
        self._before = _parcel.get()
        _parcel.set(self._parcel)

    def __exit__(self, *exc: object) -> None:
        _parcel.set(self._before)
        if self._parcel is not None:
            self._parcel.close()


def arrived(index: Any, kind: Any, data: Any) -> object:
    """Return the value that came as a descriptor.

    Raises:
        SerializeError: there is none, or it is not what it is said to be.
    """
    parcel = _parcel.get()
    if parcel is None:
        raise SerializeError("no descriptors came beside this message")
    make = makers.get(kind) if type(kind) is str else None
    if make is None or type(index) is not int:
        raise SerializeError(f"nothing of the kind {str(kind)[:50]!r} is known here")
    return make(parcel, index, data)


def _rebuild(_: object, data: Any) -> object:
    index, kind, described = data
    return arrived(index, kind, described)


rebuilders_of_passengers: dict[str, tuple[Callable[[Any, Any], object], int]] = {
    "passenger": (_rebuild, 500),
}
"""Tag -> how to rebuild, and the memory that one takes."""
