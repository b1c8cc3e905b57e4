"""A URI of pyroipc into one that programs for Pyro know.

Without a port, a name server in it is at the setting NS_PORT; the text of ``repr`` is Pyro's. To
``isinstance`` every URI of pyroipc is one of these, wherever it came from.
"""

from __future__ import annotations

from pyroipc.settings import config
from pyroipc.uri import URI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

__all__ = ["CompatURI"]


class _AnyURI(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, URI)


class CompatURI(URI, metaclass=_AnyURI):
    """The base of the URIs of the shims."""

    __slots__ = ()

    _shown_as: ClassVar[str] = "URI"
    """The name in ``repr``."""

    def __init__(self, uri: str | URI) -> None:
        super().__init__(uri, ns_port=config.NS_PORT)

    def __setstate__(self, state: object) -> None:
        """Become what a pickle of Pyro's own URI holds."""
        from pyroipc.client.pyro.manner import read_uri

        super().__init__(read_uri(self._shown_as, {"state": state}))

    def __repr__(self) -> str:
        return f"<{self._shown_as} at {id(self):#x}; {self}>"
