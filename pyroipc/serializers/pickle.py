"""The trusted family: pickle (id 16), cloudpickle (17) and dill (18).

Loading any of them can run any code, so they are accepted from verified local peers only; the
session decides that before it decodes a byte. This is the one module that may import pickle.

``pickle`` is the default of local channels. A value goes through C's pickler, protocol 5. What
that cannot do (a lambda, a closure, a class made in a function), and what it would do wrong (a
class of ``__main__`` that the peer does not have), goes through cloudpickle, which is imported
only then. cloudpickle writes ordinary pickles, so there is one way to load.

How a wrong reference to ``__main__`` is noticed: its name must occur in the bytes. For a peer
that shares our ``__main__`` a second pickler then looks whether the peer has all those names.

Objects that do not travel but are referred to (those registered in a daemon) are found by their
types: C's pickler looks the type of an object up in a table before anything else. As long as
nothing is registered in this process, no table is used.

Large buffers go apart (``pickle_parts``): whatever offers them to a pickler of protocol 5, and
bytes, arrays and the like wherever they are.

=============  ====================================================================
``dumps``      the pickle of the value
``dumps_call`` the pickle of the tuple (object id, member, args, kwargs or None)
=============  ====================================================================
"""

from __future__ import annotations

# The C module behind pickle: the same functions, without the 4 ms that pickle.py takes to load
# its Python twins and the module re. A fresh child pays that before it can answer.
from _pickle import dumps as _dumps
from _pickle import loads as _loads
from sys import modules

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import CallParts, PeerImage, Serializer, checked_call
from pyroipc.serializers.parts import (
    APART_BYTES,
    SIZES,
    LargeFoundError,
    goes_apart,
    holds_large,
    learn_types,
    refuse_large,
)
from pyroipc.serializers.passengers import late_types
from pyroipc.serializers.pickle_references import (
    FAILURES,
    MAIN,
    PLAIN,
    ReferenceTable,
    is_flat,
    may_name_main,
    pickled,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from pyroipc.serializers.base import Buffer, ClassesFor, DecodedCall, Manner, References
    from pyroipc.serializers.parts import Parts
    from pyroipc.serializers.pickle_parts import Collector
    from pyroipc.serializers.pyro import PyroForm

__all__ = ["CloudpickleSerializer", "DillSerializer", "PickleSerializer"]

_LARGE = 1 << 20  # above this, plain byte strings and texts are left out of the search
_STRANGER = PeerImage()
_NO_TYPES: frozenset[type] = frozenset()
_LATE = "multiprocessing.connection"  # the only one of the modules in late_types
_SMALL = 90  # a pickle of one of its connections has more bytes


class PickleSerializer(Serializer):
    """pickle, with cloudpickle for what pickle cannot do."""

    name = "pickle"
    id = 16
    trust = "code"
    bare_loads = _loads
    carries_classes = True  # errors travel as classes and objects, see protocol/remote_errors
    __slots__ = ("_by_reference", "_peer", "_references", "_table")

    def __init__(self, peer: PeerImage = _STRANGER, references: References | None = None) -> None:
        self._peer = peer
        self._references = references
        self._table = None if references is None else ReferenceTable(references)
        # A live view: types are added and removed as objects are registered.
        self._by_reference = _NO_TYPES if references is None else references.types

    def for_connection(
        self,
        peer: PeerImage,
        references: References | None = None,
        classes_for: ClassesFor | None = None,
    ) -> Serializer:
        """Return a serializer that knows what *peer* has in common with this process."""
        learn_types()
        return type(self)(peer, references)

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro4.

        Raises:
            SerializeError: the peer is Pyro5, which has none of this family.
        """
        from pyroipc.serializers.pickle_pyro import pyro_form

        return pyro_form(self.name, manner)

    def _learn(self) -> bool:
        """Have types looked at that pickle takes for ordinary; say whether any are looked at."""
        for learn in late_types.values():
            learn()
        return bool(self._by_reference)

    # The four methods below are one frame each, and repeat themselves for that reason. Measured:
    # find takes 0.03 to 0.07 µs where ``in`` takes 0.15 to 0.25, because bytes first tries to
    # take what it is to look for as a number, and makes an exception of that.

    def dumps(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled.
        """
        try:
            if self._by_reference and type(value) not in PLAIN and not is_flat(value):
                data = pickled(value, self._table)
            else:
                data = _dumps(value, 5)
        except FAILURES as failure:
            return self._by_value(value, failure)  # type: ignore[no-any-return]
        n_bytes = len(data)
        if n_bytes > _SMALL and not self._by_reference and _LATE in modules and self._learn():
            return self.dumps(value)
        if n_bytes > _LARGE or data.find(MAIN) >= 0:
            return self._checked(value, data, (value,))
        return data

    def loads(self, data: Buffer) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return _loads(data)
        except FAILURES as failure:
            _cannot("load", self.name, failure)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call.

        Raises:
            SerializeError: an argument cannot be pickled.
        """
        try:
            if self._by_reference and (kwargs or not PLAIN.issuperset(map(type, args))):
                data = pickled((object_id, member, args, kwargs), self._table)
            else:
                data = _dumps((object_id, member, args, kwargs), 5)
        except FAILURES as failure:
            call = CallParts((object_id, member, args, kwargs))
            return self._by_value(call, failure)  # type: ignore[no-any-return]
        n_bytes = len(data)
        if n_bytes > _SMALL and not self._by_reference and _LATE in modules and self._learn():
            return self.dumps_call(object_id, member, args, kwargs)
        if n_bytes > _LARGE or data.find(MAIN) >= 0:
            parts = (*args, *kwargs.values()) if kwargs else args
            return self._checked(CallParts((object_id, member, args, kwargs)), data, parts)
        return data

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not the pickle of a call, or one of things that are missing here.
        """
        try:
            object_id, member, args, kwargs = call = _loads(data)
        except FAILURES as failure:
            _cannot("load", self.name, failure)
        if type(object_id) is type(member) is str and type(args) is tuple and kwargs is None:
            return call  # type: ignore[no-any-return]
        return checked_call(call)

    def dumps_parts(self, value: object) -> bytes | Parts:
        """Encode one value, with large buffers apart.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled.
        """
        if type(value) in SIZES and goes_apart(value):
            return self._apart(value, self._table)
        try:
            if self._by_reference and type(value) not in PLAIN and not is_flat(value):
                data = pickled(value, self._table, refuse_large)
            else:
                data = _dumps(value, 5, buffer_callback=refuse_large)
        except FAILURES as failure:
            return self._apart_after(value, failure)
        n_bytes = len(data)
        if n_bytes > _SMALL and not self._by_reference and _LATE in modules and self._learn():
            return self.dumps_parts(value)
        if n_bytes > APART_BYTES and holds_large(data):
            return self._apart(value, self._uncounted())
        if n_bytes > _LARGE or data.find(MAIN) >= 0:
            return self._checked(value, data, (value,))
        return data

    def dumps_call_parts(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes | Parts:
        """Encode a call, with large buffers apart.

        Raises:
            SerializeError: an argument cannot be pickled.
        """
        for value in args if not kwargs else (*args, *kwargs.values()):
            if type(value) in SIZES and goes_apart(value):
                return self._apart(CallParts((object_id, member, args, kwargs)), self._table)
        try:
            if self._by_reference and (kwargs or not PLAIN.issuperset(map(type, args))):
                data = pickled((object_id, member, args, kwargs), self._table, refuse_large)
            else:
                data = _dumps((object_id, member, args, kwargs), 5, buffer_callback=refuse_large)
        except FAILURES as failure:
            return self._apart_after(CallParts((object_id, member, args, kwargs)), failure)
        n_bytes = len(data)
        if n_bytes > _SMALL and not self._by_reference and _LATE in modules and self._learn():
            return self.dumps_call_parts(object_id, member, args, kwargs)
        if n_bytes > APART_BYTES and holds_large(data):
            return self._apart(CallParts((object_id, member, args, kwargs)), self._uncounted())
        if n_bytes > _LARGE or data.find(MAIN) >= 0:
            parts = (*args, *kwargs.values()) if kwargs else args
            return self._checked(CallParts((object_id, member, args, kwargs)), data, parts)
        return data

    def loads_parts(self, data: Buffer, buffers: Sequence[Any]) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return _loads(data, buffers=buffers)
        except FAILURES as failure:
            _cannot("load", self.name, failure)

    def loads_call_parts(self, data: Buffer, buffers: Sequence[Any]) -> DecodedCall:
        """Decode a call; otherwise as :meth:`loads_parts`."""
        return checked_call(self.loads_parts(data, buffers))

    def load_failed(self, failure: BaseException) -> BaseException:
        """Return the SerializeError that says why bytes could not be loaded."""
        if isinstance(failure, FAILURES) and not isinstance(failure, SerializeError):
            try:
                _cannot("load", self.name, failure)
            except SerializeError as error:
                return error
        return failure

    def _checked(self, value: object, data: bytes, parts: Iterable[object]) -> bytes:
        """Return *data*, or a pickle by value if it names what the peer does not have."""
        again = None if self._table is None else self._table.again()
        if len(data) > _LARGE and not may_name_main(data, parts, again):
            return data
        if self._peer.shares_main and self._knows_all(value, again):
            return data
        return self._by_value(value, None, again)  # type: ignore[no-any-return]

    def _uncounted(self) -> ReferenceTable | None:
        """Return a table for another look at what was pickled before."""
        return None if self._table is None else self._table.again()

    def _apart_after(self, value: object, failure: BaseException) -> bytes | Parts:
        """Go on after plain pickle has found a large buffer, or something that it cannot do.

        Raises:
            SerializeError: cloudpickle cannot do it either, or is not installed.
        """
        carries = self._references is not None and self._references.why_not_carried() is None
        if not (isinstance(failure, LargeFoundError) or (carries and type(failure) is TypeError)):
            return self._by_value(value, failure, tried=self._try, apart=True)  # type: ignore[no-any-return]
        if self._table is not None:  # what was counted before it was found
            plain = tuple(value) if type(value) is CallParts else value
            self._table.take_back(self._try, plain)
        return self._apart(value, self._table)

    def _try(self, value: object) -> object:
        return pickled(value, self._table if self._by_reference else None, refuse_large)

    def _collector(self, table: ReferenceTable | None, value: object) -> Collector:
        from pyroipc.serializers.pickle_parts import Collector

        is_call = type(value) is CallParts
        return Collector(table if self._by_reference else None, self._references, is_call=is_call)

    def _apart(self, value: object, table: ReferenceTable | None) -> bytes | Parts:
        """Pickle with large buffers apart.

        Args:
            value: a value or a call.
            table: reduces objects that are referred to, and counts them or not.

        Raises:
            SerializeError: something in it cannot be pickled.
        """
        from pyroipc.serializers.pickle_quick import dumps_lent, dumps_quickly

        is_call = type(value) is CallParts
        plain: Any = tuple(value) if type(value) is CallParts else value
        parts: bytes | Parts | None = None
        if not (self._by_reference or (_LATE in modules and self._learn())):
            parts = dumps_quickly(plain, is_call=is_call)
        elif is_call:
            parts = dumps_lent(plain, self._references)
        if parts is None:
            collector = self._collector(table, value)
            try:
                parts = collector.dump(collector.wrapped(plain, is_call=is_call))
            except FAILURES as failure:
                again = self._collector(self._table, value).dump
                return self._by_value(value, failure, tried=again, apart=True)  # type: ignore[no-any-return]
        payload = parts if isinstance(parts, bytes) else parts.payload
        if payload.find(MAIN) < 0 or (
            self._peer.shares_main and self._knows_all(plain, self._uncounted())
        ):
            return parts
        return self._by_value(value, None, self._uncounted(), apart=True)  # type: ignore[no-any-return]

    def _knows_all(self, value: object, table: ReferenceTable | None) -> bool:
        """Say whether the peer has all names of ``__main__`` that a pickle of a value has."""
        from pyroipc.serializers.pickle_checking import knows_all_names

        return knows_all_names(self._peer.generation, table, value)

    def _by_value(
        self,
        value: object,
        failure: BaseException | None,
        table: ReferenceTable | None = None,
        *,
        tried: Callable[[object], object] | None = None,
        apart: bool = False,
    ) -> Any:
        """Pickle with cloudpickle, after plain pickle raised *failure* or would do wrong.

        Args:
            value: a value or a call.
            failure: what was raised.
            table: given if the references were counted already: it counts none.
            tried: what has raised.
            apart: put large buffers apart, and return what that gives.

        Raises:
            SerializeError: cloudpickle cannot do it either, or is not installed.
        """
        if isinstance(failure, RecursionError | MemoryError):
            _cannot("dump", self, value, failure, _dumps)
        try:
            from pyroipc.serializers.by_value import dumps_by_value, dumps_by_value_apart
        except ImportError as missing:
            raise SerializeError(
                f"an object of type {type(value).__qualname__} cannot be sent without "
                f"cloudpickle, which cannot be imported ({missing}): pip install cloudpickle"
            ) from failure
        if isinstance(failure, SerializeError):
            raise failure
        peer, plain = self._peer, tuple(value) if type(value) is CallParts else value
        if failure is not None and self._table is not None:
            self._table.take_back(tried or (lambda part: pickled(part, self._table)), plain)
        table = table if table is not None else self._table
        try:
            if apart:
                return dumps_by_value_apart(plain, peer, self._collector(table, value))
            return dumps_by_value(plain, peer, table)
        except FAILURES as second_failure:
            again = self._uncounted()
            _cannot(
                "dump", self, value, second_failure, lambda part: dumps_by_value(part, peer, again)
            )


class _OtherPickler(PickleSerializer):
    """A serializer whose pickler does not begin with plain pickle."""

    __slots__ = ()

    def _encoded(self, value: object, *, apart: bool = False) -> Any:
        raise NotImplementedError

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps."""
        return self._encoded(value)  # type: ignore[no-any-return]

    def dumps_parts(self, value: object) -> bytes | Parts:
        """Encode one value; see Serializer.dumps_parts."""
        return self._encoded(value, apart=True)  # type: ignore[no-any-return]

    def dumps_call(self, object_id: str, member: str, args: Any, kwargs: Any) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self._encoded(CallParts((object_id, member, args, kwargs)))  # type: ignore[no-any-return]

    def dumps_call_parts(
        self, object_id: str, member: str, args: Any, kwargs: Any
    ) -> bytes | Parts:
        """Encode a call; see Serializer.dumps_call_parts."""
        return self._encoded(CallParts((object_id, member, args, kwargs)), apart=True)  # type: ignore[no-any-return]


class CloudpickleSerializer(_OtherPickler):
    """cloudpickle for everything; loading is the same as for pickle."""

    name = "cloudpickle"
    id = 17
    __slots__ = ()

    def _encoded(self, value: object, *, apart: bool = False) -> Any:
        return self._by_value(value, None, apart=apart)


class DillSerializer(_OtherPickler):
    """dill, for those who have it: it knows more types than cloudpickle, and is slower.

    Raises:
        ImportError: dill is not installed.
    """

    name = "dill"
    id = 18
    __slots__ = ("_dump", "_load")

    def __init__(self, peer: PeerImage = _STRANGER, references: References | None = None) -> None:
        from pyroipc.serializers.dill_names import dill_dumps, dill_loads

        super().__init__(peer, references)
        self._dump: Callable[..., bytes] = dill_dumps
        self._load: Callable[..., object] = dill_loads

    def _encoded(self, value: object, *, apart: bool = False) -> Any:
        plain = tuple(value) if type(value) is CallParts else value
        table = self._table
        try:
            if apart:
                from pyroipc.serializers.dill_names import dill_dumps_apart

                return dill_dumps_apart(plain, self._peer, self._collector(table, value))
            return self._dump(plain, self._peer, table)
        except FAILURES as failure:
            _cannot("dump", self, value, failure, lambda part: self._dump(part, self._peer, table))

    def loads(self, data: Buffer) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only."""
        return self.loads_parts(data, ())

    def loads_parts(self, data: Buffer, buffers: Sequence[Any]) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return self._load(data, buffers)
        except FAILURES as failure:
            _cannot("load", self.name, failure)

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not the pickle of a call, or one of things that are missing here.
        """
        return checked_call(self.loads(data))


def _cannot(verb: str, *facts: object) -> NoReturn:
    """Say what cannot be encoded, or decoded, and why."""
    from pyroipc.serializers import pickle_failures  # when something has failed

    raise getattr(pickle_failures, f"cannot_{verb}")(*facts)
