"""The pickle family for peers that are Pyro4: plain pickles of a value, or of a call's parts.

Whether a peer is trusted enough for that is decided elsewhere, before a byte is decoded.

**Out.** Pickle names classes, and insists on importing what it names. Pyro4 need not be installed
here, so what stands for an object of Pyro4 is pickled as a call of functions that every Python
has: ``getattr(import_module("Pyro4.util"), "SerializerBase")`` and so on. What the manner
describes goes through Pyro4's ``dict_to_class``; our errors become those of the same name in
``Pyro4.errors``.

**In.** The names of Pyro4's classes are looked up in a table; nothing of Pyro4 is imported. A URI
or a proxy is finished by a rule of ``classes``, when its state is known: ``pickle_finishing``.

Everything else is as pickle, cloudpickle or dill themselves do it: nothing here counts on a peer
that has pyroipc.
"""

from __future__ import annotations

import copyreg
from _pickle import Pickler, Unpickler  # the C part of pickle, as in serializers/pickle.py
from importlib import import_module
from io import BytesIO

from pyroipc import errors
from pyroipc.errors import PyroError, SerializeError
from pyroipc.serializers.base import CallParts, checked_call
from pyroipc.serializers.exceptions import PYRO_NAMES, exception_to_dict, safe_text
from pyroipc.serializers.pickle_failures import cannot_dump, cannot_load
from pyroipc.serializers.pickle_names import find_for_pyro, needs_finishing
from pyroipc.serializers.pickle_references import FAILURES
from pyroipc.serializers.pyro import PyroForm
from pyroipc.serializers.pyro_exceptions import (
    as_known,
    is_users,
    text_of_substitute,
    text_with_class,
    travels_everywhere,
)
from pyroipc.serializers.wrapped import ExceptionWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyroipc.serializers.base import Buffer, DecodedCall, Manner

    Lines = list[str] | None

__all__ = ["pyro_form"]

_PROTOCOL = 5
_PLAIN = frozenset({
    bytes, bytearray, str, int, float, bool, type(None), complex,
    list, tuple, dict, set, frozenset,
})  # fmt: skip
_FAMILY = "Pyro4"


def pyro_form(name: str, manner: Manner) -> PyroForm:
    """Return the form of the serializer called *name* for a peer that is Pyro4.

    Raises:
        SerializeError: the peer is Pyro5, or the library is not installed.
    """
    if manner.family != _FAMILY:
        raise SerializeError(
            f"{manner.family} has no serializer {name!r}; use serpent, json, msgpack or marshal"
        )
    return _FORMS[name](manner)


# ------------------------------------------------------------------------------------- reducing


class _Named:
    """Something that the peer finds by its name: a module, or an attribute of another of these."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: _Named | None, name: str) -> None:
        self._owner = owner
        self._name = name

    def __call__(self) -> None:
        """Make pickle take this for a function; it is called at the peer only."""

    def __reduce__(self) -> tuple[Any, ...]:
        if self._owner is None:
            return import_module, (self._name,)
        return getattr, (self._owner, self._name)


_ERRORS = _Named(None, "Pyro4.errors")
_WRAPPER = _Named(_Named(None, "Pyro4.futures"), "_ExceptionWrapper")
_DICT_TO_CLASS = _Named(_Named(_Named(None, "Pyro4.util"), "SerializerBase"), "dict_to_class")
_named_errors = {name: _Named(_ERRORS, name) for name in PYRO_NAMES}
_new_object: Any = copyreg.__newobj__  # type: ignore[attr-defined]
_OURS = frozenset({getattr, import_module, _new_object})


class Reducer:
    """Says how pickle is to send what is not plain, for one pickling.

    Args:
        manner: of the connection.
        told: exceptions that a call raised, by their ids, with their tracebacks. Of these, parts
            that cannot be pickled are replaced by their repr.
        dumps: pickles a value, to try it out.
    """

    __slots__ = ("_describe", "_dumps", "_told")

    def __init__(
        self,
        manner: Manner,
        told: Mapping[int, Lines],
        dumps: Callable[[object], bytes],
    ) -> None:
        self._describe = manner.describe
        self._told = dict(told)
        self._dumps = dumps

    def reduce(self, obj: Any) -> Any:
        """Return what ``__reduce__`` might, or NotImplemented."""
        kind = type(obj)
        if kind in _PLAIN or kind is _Named:
            return NotImplemented
        if (kind is _FUNCTION or kind is _BUILTIN) and obj in _OURS:
            return NotImplemented
        if kind is type and obj.__module__ == errors.__name__ and obj.__name__ in PYRO_NAMES:
            return _named_errors[obj.__name__].__reduce__()
        described = self._describe(obj)
        if described is not None:
            return _DICT_TO_CLASS, (described,)
        if isinstance(obj, ExceptionWrapper):
            self._told.setdefault(id(obj.exception), obj.lines)
            return _WRAPPER, (obj.exception,)
        if isinstance(obj, BaseException):
            return self._exception(obj)
        return NotImplemented

    def _exception(self, exception: BaseException) -> Any:
        told = id(exception) in self._told
        cls = type(exception)
        if not isinstance(exception, Exception):
            state = dict(vars(exception)) if not told else {}
            args: tuple[Any, ...] = (text_with_class(exception),)
            return _named_errors["PyroError"], args, self._with_lines(exception, state)
        ours = not is_users(cls) and cls.__module__.partition(".")[0] == "pyroipc"
        if not told and not ours and not issubclass(cls, errors.RemoteError):
            return NotImplemented
        described = exception_to_dict(exception, self._probe if told else None)
        args, state = described["args"], self._with_lines(exception, described["attributes"])
        if ours or issubclass(cls, errors.RemoteError) or not self._can_be_named(cls):
            name, known, text = as_known(exception, _FAMILY, args)
            args = args if text is None else (text,)
            return _named_errors.get(name, known), args, state
        if _wants_other_args(cls):
            return _new_object, (cls, *args), state
        return self._as_it_wants(exception, state)

    def _as_it_wants(self, exception: Exception, attributes: dict[str, Any]) -> Any:
        """Return what ``__reduce__`` says, with parts replaced that cannot be pickled."""
        reduced: Any = exception.__reduce_ex__(_PROTOCOL)
        if type(reduced) is not tuple or not 2 <= len(reduced) <= 3:
            return reduced
        maker, args, state = reduced if len(reduced) == 3 else (*reduced, None)
        if state is not None and type(state) is not dict:
            return reduced
        if type(getattr(exception, "__setstate__", None)) is _METHOD:
            return reduced
        state = {**(state or {}), **attributes}
        if isinstance(exception, AttributeError):
            state.pop("obj", None)  # the very object that lacks the attribute
        parts = tuple([self._part(value) for value in args])
        return maker, parts, {key: self._part(value) for key, value in state.items()}

    def _part(self, value: object) -> object:
        try:
            self._probe(value)
        except FAILURES:
            return safe_text(value, repr)
        return value

    def _with_lines(self, exception: BaseException, state: dict[str, Any]) -> dict[str, Any]:
        lines = self._told.get(id(exception))
        return state if lines is None else {**state, "_pyroTraceback": lines}

    def _probe(self, value: object) -> object:
        return travels_everywhere(value) or self._dumps(value)

    def _can_be_named(self, cls: type) -> bool:
        try:
            self._dumps(cls)
        except FAILURES:
            return False
        return True


_FUNCTION: type = type(lambda: None)
_BUILTIN = type(len)
_METHOD = type(safe_text.__get__(0))
_INITS_OF_THEIR_OWN = (
    OSError, ImportError, SyntaxError, UnicodeError, StopIteration, AttributeError, NameError,
    BaseExceptionGroup,
)  # fmt: skip


def _wants_other_args(cls: type[BaseException]) -> bool:
    """Tell whether a class may be made without its ``__init__``, which may not take the args."""
    members: tuple[object, ...] = (cls.__reduce__, cls.__reduce_ex__, cls.__new__)
    return (
        isinstance(cls.__init__, _FUNCTION)
        and not any(isinstance(member, _FUNCTION) for member in members)
        and not issubclass(cls, _INITS_OF_THEIR_OWN)
    )


# ----------------------------------------------------------------------------------- the forms


class _Pickler(Pickler):
    def __init__(self, file: BytesIO, reducer: Reducer) -> None:
        super().__init__(file, _PROTOCOL)
        self._reduce = reducer.reduce

    def reducer_override(self, obj: object) -> Any:
        return self._reduce(obj)


class _Unpickler(Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        found = find_for_pyro(module_name, global_name)
        return super().find_class(module_name, global_name) if found is None else found


class PyroPickleSerializer(PyroForm):
    """pickle, for a peer that is Pyro4."""

    name = "pickle"
    id = 16
    trust = "code"
    __slots__ = ("_manner",)

    def __init__(self, manner: Manner) -> None:
        self._manner = manner

    def _pickled(self, value: object, told: Mapping[int, Lines]) -> bytes:
        file = BytesIO()
        _Pickler(file, Reducer(self._manner, told, self._tried)).dump(value)
        return file.getvalue()

    def _tried(self, value: object) -> bytes:
        return self._pickled(value, {})

    def _unpickled(self, data: Buffer) -> object:
        if needs_finishing(data):
            from pyroipc.serializers.pickle_finishing import FinishingUnpickler

            return FinishingUnpickler(BytesIO(data)).load()
        return _Unpickler(BytesIO(data)).load()

    def dumps(self, value: object) -> bytes:
        """Encode one value; see Serializer.dumps.

        Raises:
            SerializeError: the value, or something inside it, cannot be pickled.
            PyroError: what stands for a value cannot be told.
        """
        try:
            return self._tried(tuple(value) if type(value) is CallParts else value)
        except PyroError:
            raise
        except FAILURES as failure:
            cannot_dump(self, value, failure, self._tried)

    def loads(self, data: Buffer) -> object:
        """Decode one value. Runs code that the peer chose: for trusted peers only.

        Raises:
            SerializeError: not a pickle, or one of things that this process does not have.
        """
        try:
            return self._unpickled(data)
        except FAILURES as failure:
            cannot_load(self.name, failure)

    def dumps_call(
        self,
        object_id: str,
        member: str,
        args: Sequence[object],
        kwargs: dict[str, object] | None,
    ) -> bytes:
        """Encode a call; see Serializer.dumps_call."""
        return self.dumps(CallParts((object_id, member, args, kwargs)))

    def loads_call(self, data: Buffer) -> DecodedCall:
        """Decode a call. Runs code that the peer chose: for trusted peers only."""
        return checked_call(self.loads(data))

    def dumps_error(self, exception: BaseException, lines: Lines) -> bytes:
        """Encode an exception; see PyroForm.dumps_error."""
        try:
            return self._pickled(exception, {id(exception): lines})
        except FAILURES as failure:
            substitute = PyroError(text_of_substitute(exception, failure))
            return self._pickled(substitute, {id(substitute): lines})

    def loads_error(self, data: Buffer) -> object:
        """Decode an exception; one of a class that is missing here arrives as a RemoteError.

        Raises:
            SerializeError: not a pickle, or one of other things that are missing here.
        """
        try:
            return self._unpickled(data)
        except FAILURES as failure:
            from pyroipc.serializers.pickle_finishing import load_leniently

            try:
                return load_leniently(data)
            except FAILURES:
                cannot_load(self.name, failure)


class PyroCloudpickleSerializer(PyroPickleSerializer):
    """cloudpickle, for a peer that is Pyro4."""

    name = "cloudpickle"
    id = 17
    __slots__ = ()

    def _pickled(self, value: object, told: Mapping[int, Lines]) -> bytes:
        from pyroipc.serializers.cloudpickle_pyro import CloudPickler

        file = BytesIO()
        CloudPickler(file, Reducer(self._manner, told, self._tried).reduce).dump(value)
        return file.getvalue()


class PyroDillSerializer(PyroPickleSerializer):
    """dill, for a peer that is Pyro4."""

    name = "dill"
    id = 18
    __slots__ = ()

    def _pickled(self, value: object, told: Mapping[int, Lines]) -> bytes:
        from pyroipc.serializers.dill_pyro import DillPickler

        file = BytesIO()
        DillPickler(file, Reducer(self._manner, told, self._tried).reduce).dump(value)
        return file.getvalue()

    def _unpickled(self, data: Buffer) -> object:
        from pyroipc.serializers.dill_pyro import DillUnpickler, find_with_dill

        if needs_finishing(data):
            from pyroipc.serializers.pickle_finishing import FinishingUnpickler

            return FinishingUnpickler(BytesIO(data), find_with_dill).load()
        return DillUnpickler(BytesIO(data)).load()


_FORMS: dict[str, Callable[[Manner], PyroForm]] = {
    "pickle": PyroPickleSerializer,
    "cloudpickle": PyroCloudpickleSerializer,
    "dill": PyroDillSerializer,
}
