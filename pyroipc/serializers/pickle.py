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

=============  ====================================================================
``dumps``      the pickle of the value
``dumps_call`` the pickle of the tuple (object id, member, args, kwargs or None)
=============  ====================================================================
"""

from __future__ import annotations

# The C module behind pickle: the same functions, without the 4 ms that pickle.py takes to load
# its Python twins and the module re. A fresh child pays that before it can answer.
from _pickle import Pickler as _Pickler
from _pickle import dumps as _dumps
from _pickle import loads as _loads
from io import BytesIO

from pyroipc.errors import SerializeError
from pyroipc.serializers.base import CallParts, PeerImage, Serializer, checked_call
from pyroipc.serializers.main_names import MAIN_MODULES, known_by_reference
from pyroipc.serializers.pickle_references import ReferenceTable, pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from pyroipc.serializers.base import Buffer, ClassesFor, DecodedCall, Manner, References
    from pyroipc.serializers.pyro import PyroForm

__all__ = ["CloudpickleSerializer", "DillSerializer", "PickleSerializer"]

_MAIN = b"_main__"  # the end of both names in MAIN_MODULES; a search runs at about 2.5 GB/s
_LARGE = 1 << 20  # above this, plain byte strings and texts are left out of the search
_SMALL = 64  # items that are worth to be looked at one by one
_PLAIN = frozenset({bytes, bytearray, str, int, float, bool, type(None), complex})
_STRANGER = PeerImage()
_NO_TYPES: frozenset[type] = frozenset()
# What user code inside of a (un)pickling may raise. A KeyboardInterrupt is somebody's Ctrl-C.
_FAILURES = (Exception, SystemExit, GeneratorExit)


class PickleSerializer(Serializer):
    """pickle, with cloudpickle for what pickle cannot do."""

    name = "pickle"
    id = 16
    trust = "code"
    bare_loads = _loads
    carries_classes = True  # errors travel as classes and objects, see protocol/remote_errors
    __slots__ = ("_by_reference", "_peer", "_table")

    def __init__(self, peer: PeerImage = _STRANGER, references: References | None = None) -> None:
        self._peer = peer
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
        return type(self)(peer, references)

    def for_pyro(self, manner: Manner) -> PyroForm:
        """Return the form for a peer that is Pyro4.

        Raises:
            SerializeError: the peer is Pyro5, which has none of this family.
        """
        from pyroipc.serializers.pickle_pyro import pyro_form

        return pyro_form(self.name, manner)

    def _pickle(self, value: object) -> bytes:
        """Pickle a value that may contain objects that are referred to.

        Raises:
            Exception: whatever pickling raises.
        """
        if not self._by_reference:
            return _dumps(value, 5)
        file = BytesIO()
        pickler = _Pickler(file, 5)
        pickler.dispatch_table = self._table  # type: ignore[assignment] # never None here
        pickler.dump(value)
        return file.getvalue()

    # The four methods below are one frame each, and repeat themselves for that reason. Measured:
    # find takes 0.03 to 0.07 µs where ``in`` takes 0.15 to 0.25, because bytes first tries to
    # take what it is to look for as a number, and makes an exception of that.

    def dumps(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled.
        """
        try:
            if self._by_reference and type(value) not in _PLAIN and not _is_flat(value):
                data = self._pickle(value)
            else:
                data = _dumps(value, 5)
        except _FAILURES as failure:
            return self._by_value(value, failure)
        if len(data) > _LARGE or data.find(_MAIN) >= 0:
            return self._checked(value, data, (value,))
        return data

    def loads(self, data: Buffer) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return _loads(data)
        except _FAILURES as failure:
            _cannot_load(self.name, failure)

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
            if self._by_reference and (kwargs or not _PLAIN.issuperset(map(type, args))):
                data = self._pickle((object_id, member, args, kwargs))
            else:
                data = _dumps((object_id, member, args, kwargs), 5)
        except _FAILURES as failure:
            return self._by_value(CallParts((object_id, member, args, kwargs)), failure)
        if len(data) > _LARGE or data.find(_MAIN) >= 0:
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
        except _FAILURES as failure:
            _cannot_load(self.name, failure)
        if type(object_id) is type(member) is str and type(args) is tuple and kwargs is None:
            return call  # type: ignore[no-any-return]
        return checked_call(call)

    def load_failed(self, failure: BaseException) -> BaseException:
        """Return the SerializeError that says why bytes could not be loaded."""
        if isinstance(failure, _FAILURES) and not isinstance(failure, SerializeError):
            try:
                _cannot_load(self.name, failure)
            except SerializeError as error:
                return error
        return failure

    def _checked(self, value: object, data: bytes, parts: Iterable[object]) -> bytes:
        """Return *data*, or a pickle by value if it names what the peer does not have."""
        again = None if self._table is None else self._table.again()
        if len(data) > _LARGE and not _may_name_main(data, parts, again):
            return data
        if self._peer.shares_main:
            try:
                _CheckingPickler(self._peer.generation, again).dump(value)
            except _UnknownNameError:
                pass
            else:
                return data
        return self._by_value(value, None, again)

    def _by_value(
        self, value: object, failure: BaseException | None, table: ReferenceTable | None = None
    ) -> bytes:
        """Pickle with cloudpickle, after plain pickle raised *failure* or would do wrong.

        A ``table`` is given if the references were counted already: it counts none.

        Raises:
            SerializeError: cloudpickle cannot do it either, or is not installed.
        """
        if isinstance(failure, RecursionError | MemoryError):
            _cannot_dump(self, value, failure, _dumps)
        try:
            from pyroipc.serializers.by_value import dumps_by_value
        except ImportError as missing:
            raise SerializeError(
                f"an object of type {type(value).__qualname__} cannot be sent without "
                f"cloudpickle, which cannot be imported ({missing}): pip install cloudpickle"
            ) from failure
        if isinstance(failure, SerializeError):
            raise failure
        peer, plain = self._peer, tuple(value) if type(value) is CallParts else value
        if failure is not None and self._table is not None:
            self._table.take_back(self._pickle, plain)
        try:
            return dumps_by_value(plain, peer, table if table is not None else self._table)
        except _FAILURES as second_failure:
            again = None if self._table is None else self._table.again()
            _cannot_dump(
                self, value, second_failure, lambda part: dumps_by_value(part, peer, again)
            )


class CloudpickleSerializer(PickleSerializer):
    """cloudpickle for everything; loading is the same as for pickle."""

    name = "cloudpickle"
    id = 17
    __slots__ = ()

    def dumps(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled.
        """
        return self._by_value(value, None)

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
        return self._by_value(CallParts((object_id, member, args, kwargs)), None)


class DillSerializer(PickleSerializer):
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
        self._load: Callable[[Buffer], object] = dill_loads

    def dumps(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled by dill.
        """
        plain = tuple(value) if type(value) is CallParts else value
        table = self._table
        try:
            return self._dump(plain, self._peer, table)
        except _FAILURES as failure:
            _cannot_dump(self, value, failure, lambda part: self._dump(part, self._peer, table))

    def loads(self, data: Buffer) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return self._load(data)
        except _FAILURES as failure:
            _cannot_load(self.name, failure)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call.

        Raises:
            SerializeError: an argument cannot be pickled by dill.
        """
        return self.dumps(CallParts((object_id, member, args, kwargs)))

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not the pickle of a call, or one of things that are missing here.
        """
        return checked_call(self.loads(data))


class _UnknownNameError(Exception):
    """A class or function of ``__main__`` that the peer does not have."""


class _NoFile:
    """A file for a pickler whose output nobody wants."""

    __slots__ = ()

    def write(self, data: bytes) -> int:
        return len(data)


class _CheckingPickler(_Pickler):
    """Pickles nowhere, and stops at the first name of ``__main__`` that the peer does not have.

    It is asked about every object that is not of a plain type, about 0.2 µs each; therefore it
    runs only if the name of a main module was seen in the bytes.
    """

    def __init__(self, generation: int, table: ReferenceTable | None) -> None:
        super().__init__(_NoFile(), 5)
        self._generation = generation
        if table is not None:
            self.dispatch_table = table

    def reducer_override(self, obj: object) -> Any:
        if (
            (type(obj) is _Function or issubclass(type(obj), type))
            and getattr(obj, "__module__", None) in MAIN_MODULES
            and not known_by_reference(obj, self._generation)
        ):
            raise _UnknownNameError
        return NotImplemented


def _is_flat(value: object) -> bool:
    """Tell whether a value is a small container of plain values: that is quick."""
    kind = type(value)
    if kind is dict:
        items: Any = value.values()  # type: ignore[attr-defined]
        if not _PLAIN.issuperset(map(type, value)):  # type: ignore[call-overload]
            return False
    elif kind is list or kind is tuple:
        items = value
    else:
        return False
    return len(items) <= _SMALL and _PLAIN.issuperset(map(type, items))


_Function = type(lambda: None)


def _may_name_main(data: bytes, parts: Iterable[object], table: ReferenceTable | None) -> bool:
    """Search a large pickle for main modules, but not its blocks of bytes, text and numbers.

    64 MiB take 30 ms to search, more than to pickle them.
    """
    others = []
    skipped_bytes = 0
    for part in parts:
        if type(part) in _PLAIN:
            skipped_bytes += len(part) if isinstance(part, bytes | bytearray | str) else 0
        elif _is_number_array(part):
            skipped_bytes += part.nbytes  # type: ignore[attr-defined]
        else:
            others.append(part)
    if skipped_bytes > len(data) // 2:
        data = pickled(others, table)
    return _MAIN in data


def _is_number_array(value: object) -> bool:
    """Tell whether a value is a numpy array without Python objects in it."""
    cls = type(value)
    if cls.__name__ != "ndarray" or cls.__module__ != "numpy":
        return False
    return not value.dtype.hasobject  # type: ignore[attr-defined]


def _cannot_dump(
    serializer: Serializer,
    value: object,
    failure: BaseException,
    dumps: Callable[[object], bytes],
) -> NoReturn:
    from pyroipc.serializers.pickle_failures import cannot_dump

    cannot_dump(serializer, value, failure, dumps)


def _cannot_load(name: str, failure: BaseException) -> NoReturn:
    from pyroipc.serializers.pickle_failures import cannot_load

    cannot_load(name, failure)
