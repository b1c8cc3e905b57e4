"""The settings of pyroipc as the ``config`` of Pyro4 or Pyro5: other names, the same values.

A shim makes one class of its own, which says by ``ITEMS`` what each of its items is:

* ``Item("COMMTIMEOUT")``: the setting of that name. ``shown`` and ``stored`` turn the setting's
  value into the one that Pyro's users know, and back. ``default`` is what the item is to be in a
  program for Pyro where nobody has said anything; without it, what pyroipc says.
* ``Idle(default, why)``: an item that has no effect here. It keeps what it is given, and says once
  in the log, with the reason, that it does nothing, when it is given something else.

``_dialect`` is what the proxies speak. It is Pyro's, also towards another program on pyroipc. The
native dialect would do more there, but a date would suddenly arrive as a date, and not as the text
that the program knows how to read.

Nothing is copied: what the shim sets is set in ``pyroipc.config``, and the other way round.
"""

from __future__ import annotations

from pyroipc.settings import Settings, config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, Self

__all__ = ["ConfigView", "Idle", "Item"]


class Item:
    """An item that is a setting of pyroipc.

    Args:
        name: the name of the setting.
        shown: the setting's value into Pyro's.
        stored: Pyro's value into the setting's.
        default: the setting's value in a program for Pyro, if it is not that of pyroipc.
    """

    __slots__ = ("default", "name", "shown", "stored")

    def __init__(
        self,
        name: str,
        shown: Callable[[Any], Any] | None = None,
        stored: Callable[[Any], Any] | None = None,
        default: Any = None,
    ) -> None:
        self.name = name
        self.shown = shown
        self.stored = stored
        self.default = default


class Idle:
    """An item that Pyro has, and that has no effect here.

    Args:
        default: its value in Pyro.
        why: what to do instead, or why it is not needed; the end of a sentence.
    """

    __slots__ = ("default", "why")

    def __init__(self, default: Any, why: str) -> None:
        self.default = default
        self.why = why


class ConfigView:
    """A view on settings under the names of Pyro's items; a subclass gives ``ITEMS``.

    Without an argument it is a set of values of its own, as a new configuration of Pyro's is.

    Args:
        settings: what it is a view on.
    """

    __slots__ = ("_idle", "_settings")

    ITEMS: ClassVar[Mapping[str, Item | Idle]] = {}
    _dialect: ClassVar[str] = "auto"
    """What the proxies of such a program speak, unless somebody has set DIALECT."""
    _dialects: ClassVar[set[str]] = set()
    """Those of the programs in this process."""
    _told: ClassVar[set[str]] = set()
    _idle: dict[str, Any]
    _settings: Settings

    def __init__(self, settings: Settings | None = None) -> None:
        object.__setattr__(self, "_settings", Settings() if settings is None else settings)
        object.__setattr__(self, "_idle", {})
        self._take_defaults()

    @classmethod
    def on_config(cls) -> Self:
        """Return the view on the settings that the whole process shares."""
        ConfigView._dialects.add(cls._dialect)
        return cls(config)

    def _take_defaults(self) -> None:
        """Give those settings that nobody has set the values that a program for Pyro expects."""
        settings = self._settings
        for item in self.ITEMS.values():
            if isinstance(item, Idle) or item.default is None:
                continue
            if settings.source(item.name) == "default":
                setattr(settings, item.name, item.default)
        if settings.source("DIALECT") == "default":
            # With programs for both Pyros in this process each proxy has to find out.
            others = self._dialects - {self._dialect}
            settings.DIALECT = "auto" if others else self._dialect
            settings._sources.pop("DIALECT")  # noqa: SLF001 - nobody has chosen it

    def _reset(self, use_environment: bool) -> None:  # noqa: FBT001 - as in Pyro
        self._settings.reset(use_environment)
        self._idle.clear()
        self._take_defaults()

    def _copy(self) -> Self:
        twin = type(self)(self._settings.copy())
        twin._idle.update(self._idle)  # noqa: SLF001 - of the same class
        return twin

    def _as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.ITEMS}

    def __getattr__(self, name: str) -> Any:
        item = self._item(name)
        if isinstance(item, Idle):
            return self._idle.get(name, item.default)
        value = getattr(self._settings, item.name)
        return item.shown(value) if item.shown else value

    def __setattr__(self, name: str, value: Any) -> None:
        item = self._item(name)
        if isinstance(item, Item):
            setattr(self._settings, item.name, item.stored(value) if item.stored else value)
            return
        if value != item.default and name not in self._told:
            self._told.add(name)
            import logging

            logging.getLogger("pyroipc.compat").warning(
                "the item %s = %r has no effect here: %s", name, value, item.why
            )
        self._idle[name] = value

    def _item(self, name: str) -> Item | Idle:
        try:
            return self.ITEMS[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.ITEMS})
