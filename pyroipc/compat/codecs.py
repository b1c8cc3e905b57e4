"""The serializers of pyroipc into the objects that Pyro hands out for its own.

A codec writes what such a Pyro writes, byte for byte where pyroipc can tell, and reads it. It is
for programs that serialize for themselves: connections use the serializers directly.
"""

from __future__ import annotations

from pyroipc.serializers import classes, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar

    from pyroipc.client.pyro.manner import PyroManner
    from pyroipc.serializers.pyro import PyroForm

    Buffer = bytes | bytearray | memoryview
    Call = tuple[str, str, Sequence[Any], dict[str, Any] | None]

__all__ = ["Codec"]


class _Nobody:
    """Where a connection is asked for, and there is none."""


def _manner(family: str) -> PyroManner:
    from pyroipc.client.pyro.manner import PyroManner  # few need it

    return PyroManner(family, _Nobody())  # type: ignore[arg-type]


class Codec:
    """The base of the serializer classes of the shims.

    The registries of classes belong to the process: to all serializers of pyroipc, Pyro's, and
    those of its own connections.
    """

    serializer_id: ClassVar[int] = 0
    """The number in Pyro's messages."""
    _family: ClassVar[str] = "Pyro5"
    _name: ClassVar[str] = ""

    def _form(self) -> PyroForm:
        """Return what does the work.

        Raises:
            NotImplementedError: this is the base class.
        """
        if not self._name:
            raise NotImplementedError("implement in subclass")
        return table.get(self._name).for_pyro(_manner(self._family))

    def dumps(self, data: Any) -> bytes:
        """Encode a value.

        Raises:
            SerializeError: it cannot be encoded.
        """
        return self._form().dumps(data)

    def loads(self, data: Buffer) -> Any:
        """Decode a value.

        Raises:
            SerializeError: the bytes are no valid payload.
            SecurityError: they name a class that may never be rebuilt.
        """
        return self._form().loads(data)

    def dumpsCall(
        self, obj: str, method: str, vargs: Sequence[Any], kwargs: dict[str, Any] | None
    ) -> bytes:
        """Encode a call: the object id, the method, and its arguments.

        Raises:
            SerializeError: an argument cannot be encoded.
        """
        return self._form().dumps_call(obj, method, vargs, kwargs)

    def loadsCall(self, data: Buffer) -> Call:
        """Decode a call; return the object id, the method, and its arguments.

        Raises:
            SerializeError: the bytes are no valid call.
            SecurityError: they name a class that may never be rebuilt.
        """
        return self._form().loads_call(data)

    # --- classes -------------------------------------------------------------------------------

    @classmethod
    def register_class_to_dict(
        cls, clazz: type, converter: Callable[[Any], dict[str, Any]], serpent_too: bool = True
    ) -> None:
        """Send instances of a class as the dict that a function makes of them."""
        classes.register_class_to_dict(clazz, converter, serpent_too)

    @classmethod
    def unregister_class_to_dict(cls, clazz: type) -> None:
        """Forget the function of a class."""
        classes.unregister_class_to_dict(clazz)

    @classmethod
    def register_dict_to_class(
        cls, classname: str, converter: Callable[[str, dict[str, Any]], Any]
    ) -> None:
        """Rebuild what has this name in the key ``"__class__"`` with a function."""
        classes.register_dict_to_class(classname, converter)

    @classmethod
    def unregister_dict_to_class(cls, classname: str) -> None:
        """Forget the function of a name."""
        classes.unregister_dict_to_class(classname)

    @classmethod
    def register_type_replacement(
        cls, object_type: type, replacement_function: Callable[[Any], Any]
    ) -> None:
        """Refuse: what is sent in place of an object is said by ``register_class_to_dict`` here.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "pyroipc does not replace objects by type: register_class_to_dict says as which dict "
            "the objects of a class are sent, and registered objects travel as proxies anyway"
        )

    @classmethod
    def class_to_dict(cls, obj: Any) -> dict[str, Any]:
        """Return the dict that stands for an instance of a class.

        Raises:
            SerializeError: nothing does.
        """
        described = _manner(cls._family).describe(obj)
        return classes.class_to_dict(obj) if described is None else described

    @classmethod
    def dict_to_class(cls, data: dict[str, Any]) -> Any:
        """Return what a dict with the key ``"__class__"`` stands for.

        Raises:
            SerializeError: nothing knows its class.
            SecurityError: it may never be rebuilt.
        """
        _manner(cls._family)  # it knows Pyro's own classes
        return classes.dict_to_class(data)

    def recreate_classes(self, literal: Any) -> Any:
        """Replace the dicts with the key ``"__class__"`` in plain data by what they stand for.

        Raises:
            SerializeError: nothing knows one of the classes.
            SecurityError: one of them may never be rebuilt.
        """
        return classes.recreate(literal)

    @staticmethod
    def make_exception(exceptiontype: type[Exception], data: Mapping[str, Any]) -> Exception:
        """Return an exception of a class with the ``args`` and ``attributes`` of a dict."""
        made = exceptiontype(*data["args"])
        for name, value in data.get("attributes", {}).items():
            setattr(made, name, value)
        return made

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return object.__hash__(self)
