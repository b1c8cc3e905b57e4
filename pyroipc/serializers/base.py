"""The contract of a serializer: Python values <-> the payload bytes of one message.

A serializer knows nothing of messages, calls in flight or connections: the header, flags and
annotations of a message belong to ``wire``, the meaning of a call to ``protocol``.

Rules that every plug-in keeps, held by ``tests/contracts/test_serializers.py``:

* One instance serves all threads at once; it has no state that changes.
* The input of ``loads`` and ``loads_call`` may be bytes, bytearray or a memoryview; it is not
  changed, and no view of it is kept after the call returns. The buffers given to ``loads_parts``
  are given away: they may be a part of the result.
* Whatever the bytes, decoding returns a value or raises SerializeError or SecurityError.
* What cannot be encoded raises SerializeError that names the offending type.
* ``name`` and ``id`` are for ever: they travel in messages.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from typing import Any, ClassVar, Literal, Protocol, TypeAlias

    from pyroipc.serializers.parts import Parts
    from pyroipc.serializers.passengers import Passenger
    from pyroipc.serializers.pyro import PyroForm

    Buffer: TypeAlias = bytes | bytearray | memoryview
    DecodedCall: TypeAlias = tuple[str, str, Sequence[object], dict[str, object] | None]
    ClassesFor: TypeAlias = Callable[[str, str], Mapping[str, type]]
    """Object id and member -> the classes that its annotations name, by ``module.Qualname``."""

    class References(Protocol):
        """What stands for objects that do not travel themselves, on one connection."""

        def encode(self, value: object) -> list[Any] | None:
            """Return plain data (str, int, None, list) that stands for a value, or None."""

        def decode(self, data: list[Any]) -> object:
            """Return what such data of the peer stands for here."""

        @property
        def types(self) -> Container[type]:
            """The types of which some object is registered now; for pickle."""
            ...

        def reduce(self, value: object) -> str | tuple[Any, ...]:
            """Say how pickle is to send a value of one of ``types``, as ``__reduce__`` does."""
            ...

        def withdraw_reduced(self, reduced: str | tuple[Any, ...]) -> None:
            """Uncount what ``reduce`` returned: it was only a try."""

        def why_not_carried(self) -> str | None:
            """Say why no descriptors can go beside messages; None: they can."""

        def begin_to_carry(self) -> None:
            """Prepare for descriptors beside messages; the first time this asks the peer."""

        def lend(self, passenger: Passenger) -> list[Any] | None:
            """Return what ``decode`` makes it of, if no descriptor has to travel; else None."""

        def reduce_lent(self, passenger: Passenger) -> tuple[Any, ...] | None:
            """Say the same to pickle, as ``__reduce__`` does; None: a descriptor has to travel."""

        def take_back(self, dumps: Callable[..., object], *args: object) -> None:
            """Uncount what was counted while this was called, by calling it once more."""
            ...

    class Manner(Protocol):
        """How objects look to one peer that is Pyro."""

        @property
        def family(self) -> str:
            """``"Pyro4"`` or ``"Pyro5"``."""
            ...

        def describe(self, value: object) -> dict[str, Any] | None:
            """Return the class dict that stands for a value; None: there is nothing special.

            Asked about every value that is not exactly of a plain type, before all other rules.
            """
            ...


__all__ = [
    "MAX_DEPTH",
    "CallParts",
    "PeerImage",
    "Serializer",
    "check_keys",
    "checked_call",
    "decoding_fault",
    "encoding_fault",
]

MAX_DEPTH = 200
"""Containers nested deeper than this are refused when decoding."""
_UNCHECKED_KEYS = 1000


class PeerImage:
    """What the process at the other end shares with this one, as far as pickling cares.

    Args:
        shares_main: the peer is a fork of the same interpreter image, so that classes and
            functions of ``__main__`` have the same names and contents at both ends.
        generation: the fork generation up to which the names of ``__main__`` are common.
    """

    __slots__ = ("generation", "shares_main")

    def __init__(self, *, shares_main: bool = False, generation: int = 0) -> None:
        self.shares_main = shares_main
        self.generation = generation

    def __repr__(self) -> str:
        return f"PeerImage(shares_main={self.shares_main}, generation={self.generation})"


class Serializer:
    """Turns values and calls into payload bytes, and payload bytes into values and calls."""

    __slots__ = ()

    name: ClassVar[str] = ""
    """The name by which users select this serializer."""
    id: ClassVar[int] = 0
    """The number that travels in message headers, 1 to 255."""
    trust: ClassVar[Literal["data", "code"]] = "code"
    """``"data"``: decoding is safe against anyone.  ``"code"``: it may run code or crash."""
    bare_loads: ClassVar[Callable[..., Any] | None] = None
    """A C function that does what ``loads`` and ``loads_call`` do, without their Python frame and
    without their care: what it raises has to go through ``load_failed``."""

    is_typed: ClassVar[bool] = False
    """It carries plain data, and what is sent is what arrives: see ``for_connection``."""

    def dumps(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            SerializeError: the value, or something inside it, cannot be encoded.
        """
        raise NotImplementedError

    def loads(self, data: Buffer) -> object:
        """Decode what ``dumps`` made; the result shares no memory with *data*.

        Raises:
            SerializeError: the bytes are not a valid payload, or exceed a limit.
            SecurityError: the bytes name a class that may never be rebuilt.
        """
        raise NotImplementedError

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call: which object, which member, positional and keyword arguments.

        *args* is a tuple for a plain call, a list for some internal ones; *kwargs* is None
        for attribute access and batches.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        raise NotImplementedError

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode what ``dumps_call`` made: (object id, member, args, kwargs).

        The args are whatever the format makes of the sequence sent: a tuple or a list.

        Raises:
            SerializeError: the bytes are not a valid call, or exceed a limit.
            SecurityError: the bytes name a class that may never be rebuilt.
        """
        raise NotImplementedError

    def dumps_parts(self, value: object) -> bytes | Parts:
        """Encode one value, with large buffers apart, if the format can do that.

        Raises:
            SerializeError: as :meth:`dumps` does.
        """
        return self.dumps(value)

    def dumps_call_parts(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes | Parts:
        """Encode a call, with large buffers apart, if the format can do that.

        Raises:
            SerializeError: as :meth:`dumps_call` does.
        """
        return self.dumps_call(object_id, member, args, kwargs)

    def loads_parts(self, data: Buffer, buffers: Sequence[Any]) -> object:
        """Decode what ``dumps_parts`` made.

        Args:
            data: the payload.
            buffers: in the same order, in the forms that were asked for; given away.

        Raises:
            SerializeError: as :meth:`loads` does; or the format knows no buffers apart.
        """
        raise SerializeError(f"a payload of {self.name} has no buffers apart")

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode what ``dumps_call_parts`` made; otherwise as :meth:`loads_parts`.

        Raises:
            SerializeError: as :meth:`loads_call` does; or the format knows no buffers apart.
        """
        raise SerializeError(f"a payload of {self.name} has no buffers apart")

    def load_failed(self, failure: BaseException) -> BaseException:
        """Return the error that says why decoding failed: SerializeError, or what it was."""
        return failure

    def for_connection(
        self,
        peer: PeerImage,
        references: References | None = None,
        classes_for: ClassesFor | None = None,
    ) -> Serializer:
        """Return the form of this serializer for one connection of the native dialect.

        Args:
            peer: what the process at the other end shares with this one.
            references: stands for values that do not travel themselves; None: there are none.
            classes_for: names the dataclasses and enums that the annotations of an exposed member
                allow, for ``loads_call``; asked only when a payload holds such a class.
        """
        return self

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form of this serializer for one connection with a peer that is Pyro.

        Args:
            manner: tells what stands for objects that do not travel themselves.

        Raises:
            SerializeError: Pyro of this family has no such serializer.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<serializer {self.name!r} id={self.id} trust={self.trust}>"


class CallParts(tuple[object, object, "Sequence[object]", "dict[str, object] | None"]):
    """The parts of a call as one value, so that an error can speak of arguments."""

    __slots__ = ()


def checked_call(call: object) -> DecodedCall:
    """Return a decoded call if it has the types of one.

    Raises:
        SerializeError: it is not (str, str, list or tuple, dict or None).
    """
    if (
        isinstance(call, list | tuple)
        and len(call) == 4
        and isinstance(call[0], str)
        and isinstance(call[1], str)
        and isinstance(call[2], list | tuple)
        and (call[3] is None or isinstance(call[3], dict))
    ):
        return call[0], call[1], call[2], call[3]
    raise SerializeError(
        "the payload is not a call: (object id, member, arguments, keyword arguments)"
    )


def check_keys(keys: list[Any]) -> list[Any]:
    """Refuse many keys with few hashes: numbers and tuples can be made to collide.

    The hashes of str and bytes are salted, so those cannot.

    Raises:
        SerializeError: there are too many.
    """
    if len(keys) > _UNCHECKED_KEYS:
        doubtful = [key for key in keys if type(key) is not str and type(key) is not bytes]
        if len(set(map(hash, doubtful))) * 64 < len(set(map(id, doubtful))):
            raise SerializeError("the payload has too many keys with the same hash")
    return keys


def encoding_fault(name: str, value: object, error: BaseException) -> str:
    """Say why the format called *name* cannot encode *value*."""
    if isinstance(error, RecursionError):
        reason = "it is nested too deep, or contains itself"
    else:
        reason = f"{type(error).__name__}: {error}"
    return f"{name} cannot encode this {type(value).__name__}: {reason}"


def decoding_fault(name: str, error: BaseException) -> str:
    """Say why the format called *name* cannot decode some bytes."""
    if isinstance(error, RecursionError):
        reason = "it is nested too deep"
    else:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
    return f"invalid {name} payload: {reason}"
