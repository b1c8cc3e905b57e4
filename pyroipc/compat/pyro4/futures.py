"""Pyro4's futures: those of pyroipc, which are Pyro4's already."""

from __future__ import annotations

from pyroipc.client.future_results import Future, FutureResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Future", "FutureResult"]


class _ExceptionWrapper:  # noqa: N818, RUF100 - Pyro4's name
    """Holds an exception where a result is expected.

    Args:
        exception: what :meth:`raiseIt` raises.
    """

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception

    def raiseIt(self) -> NoReturn:
        """Raise the exception.

        Raises:
            BaseException: always.
        """
        raise self.exception
