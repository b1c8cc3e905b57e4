"""``_ExceptionWrapper``: the exception that ends the results of a batch, as both Pyros send it.

It travels as the class dict ``{"__class__": name, "exception": <class dict of the exception>}``
under the name that the family of the peer has for it, or as an object of such a class in a pickle.
"""

from __future__ import annotations

from pyroipc.errors import SerializeError
from pyroipc.serializers.classes import dict_to_class, register_builtin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["WRAPPER_NAMES", "ExceptionWrapper"]

WRAPPER_NAMES = {
    "Pyro4": "Pyro4.futures._ExceptionWrapper",
    "Pyro5": "Pyro5.core._ExceptionWrapper",
}


class ExceptionWrapper:
    """An exception that is a result among others.

    Args:
        exception: what a call of a batch raised.
        lines: its traceback, which is sent with it; the exception itself is not changed.
    """

    # No slots: pickles of Pyro4 store their attributes in the dict.
    lines: list[str] | None = None

    def __init__(self, exception: BaseException, lines: list[str] | None = None) -> None:
        self.exception = exception
        self.lines = lines

    def __repr__(self) -> str:
        return f"<ExceptionWrapper of {self.exception!r}>"


def _unwrap(name: str, data: dict[str, Any]) -> ExceptionWrapper:
    exception = data.get("exception")
    if isinstance(exception, dict) and "__class__" in exception:
        exception = dict_to_class(exception)
    if not isinstance(exception, BaseException):
        raise SerializeError(f"there is no exception in a {name}")
    return ExceptionWrapper(exception)


for _name in WRAPPER_NAMES.values():
    register_builtin(_name, _unwrap)
