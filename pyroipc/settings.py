"""The settings, and ``config``: the instance that is used wherever none is given.

They are read once, when a daemon, a proxy or a child is made, and travel down from there as plain
values: changing ``config`` later changes what is made later. The environment variable
``PYRO_<NAME>`` gives the initial value of the item ``<NAME>``.

The names in capitals are Pyro's, and where Pyro has an item it means the same here.
"""

from __future__ import annotations

import os

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

__all__ = ["Settings", "config"]

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

_PREFIX: Final = "PYRO_"
_TRUE_WORDS: Final = frozenset({"1", "yes", "on", "true"})
_FALSE_WORDS: Final = frozenset({"0", "no", "off", "false"})

# The default tells the type. Items are listed in the order in which dump() prints them.
_DEFAULTS: Final[Mapping[str, bool | int | float | str]] = {
    "SERIALIZER": "serpent",
    "LOCAL_SERIALIZER": "pickle",
    "MAX_MESSAGE_SIZE": 64 * MIB,
    "LOCAL_MAX_MESSAGE_SIZE": 16 * GIB,
    "COMMTIMEOUT": 0.0,
    "HANDSHAKE_TIMEOUT": 10.0,
    "MAX_RETRIES": 0,
    "SERVERTYPE": "thread",
    "ONEWAY_QUEUE": 1024,
    "SPIN_SECONDS": 50e-6,
    "DETAILED_TRACEBACK": False,
    "ITER_STREAMING": True,
    "ITER_STREAM_LINGER": 30.0,
    "ITER_STREAM_LIFETIME": 0.0,
}

_LEAST: Final[Mapping[str, int]] = {"MAX_RETRIES": 0}
"""Whole numbers are at least 1, but for these."""

_warned: set[str] = set()


class Settings:
    """A set of settings. Items are attributes; a name that is not an item cannot be assigned.

    Assigning checks the value: ``TypeError`` if its type is not that of the default,
    ``ValueError`` if it is out of range. Any thread may read and assign.

    Args:
        use_environment: whether to begin with the values of the ``PYRO_*`` variables.

    Raises:
        PyroError: a ``PYRO_*`` variable has a value that its item cannot take.
    """

    __slots__ = tuple(_DEFAULTS)

    SERIALIZER: str
    """The serializer of calls over a network. Default ``"serpent"``."""

    LOCAL_SERIALIZER: str
    """The serializer of calls over a channel that is verified to be local, such as the one to a
    spawned child. Default ``"pickle"``."""

    MAX_MESSAGE_SIZE: int
    """The largest message that is sent or accepted, in bytes. Default 64 MiB, at least 1."""

    LOCAL_MAX_MESSAGE_SIZE: int
    """The same for a channel that is verified to be local, in bytes. Default 16 GiB, at
    least 1."""

    COMMTIMEOUT: float
    """How long a whole call may take, in seconds. Default 0.0: as long as it takes."""

    HANDSHAKE_TIMEOUT: float
    """How long the first exchange on a connection may take, in seconds. Default 10.0; 0.0: as long
    as it takes."""

    MAX_RETRIES: int
    """How often a method call is made again after the connection was lost or time ran out.
    Default 0, at least 0; the peer may then run a call more than once."""

    SERVERTYPE: str
    """The name of the loop that serves a daemon's connections. Default ``"thread"``."""

    ONEWAY_QUEUE: int
    """How many one-way calls may wait on a connection before its sender is made to wait.
    Default 1024, at least 1."""

    SPIN_SECONDS: float
    """How long to look for an answer from another process before going to sleep, in seconds.
    Default 50e-6 (50 µs); 0.0 turns it off."""

    DETAILED_TRACEBACK: bool
    """Whether remote tracebacks show the values of local variables. Default False."""

    ITER_STREAMING: bool
    """Whether an iterator that a method returns is sent to the caller item by item. Default True;
    else such a result is an error."""

    ITER_STREAM_LINGER: float
    """How long an unfinished stream is kept after its connection has ended, in seconds, for a
    caller that connects again. Default 30.0; 0.0: not at all."""

    ITER_STREAM_LIFETIME: float
    """How long a stream may live, in seconds. Default 0.0: as long as it takes."""

    def __init__(self, *, use_environment: bool = True) -> None:
        self.reset(use_environment)

    def reset(self, use_environment: bool = True) -> None:  # noqa: FBT001, FBT002 - as in Pyro
        """Set every item to its default, or to the value that the environment gives.

        Args:
            use_environment: False leaves the environment unread, for when it is not trusted.

        Raises:
            PyroError: a ``PYRO_*`` variable has a value that its item cannot take; nothing is
                changed then.
        """
        values = dict(_DEFAULTS)
        if use_environment:
            values.update(_from_environment(os.environ))
        for name, value in values.items():
            setattr(self, name, value)

    def copy(self) -> Settings:
        """Return a new instance with the same values; the environment is not read again."""
        twin = Settings(use_environment=False)
        for name in _DEFAULTS:
            setattr(twin, name, getattr(self, name))
        return twin

    def as_dict(self) -> dict[str, bool | int | float | str]:
        """Return the items as a new dict, name to value."""
        return {name: getattr(self, name) for name in _DEFAULTS}

    def dump(self) -> str:
        """Return the items as text, one ``NAME = value`` per line, the changed ones marked."""
        return "\n".join(
            f"{name} = {value!r}{'' if value == _DEFAULTS[name] else '   # changed'}"
            for name, value in self.as_dict().items()
        )

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _DEFAULTS:
            raise AttributeError(f"there is no setting {name!r}{_did_you_mean(name)}")
        object.__setattr__(self, name, _checked(name, value))

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a setting cannot be deleted; reset() sets the defaults")

    def __repr__(self) -> str:
        changed = [f"{k}={v!r}" for k, v in self.as_dict().items() if v != _DEFAULTS[k]]
        return f"<Settings {', '.join(changed) or 'as by default'}>"


def _checked(name: str, value: object) -> bool | int | float | str:
    """Return the value in the type of its item.

    Raises:
        TypeError: the item takes another type.
        ValueError: the value is out of range.
    """
    default = _DEFAULTS[name]
    if isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        fits = isinstance(value, int | float)
    else:
        fits = isinstance(value, type(default))
    if not fits:
        wanted = type(default).__name__
        raise TypeError(f"{name} must be of type {wanted}, not {type(value).__name__}: {value!r}")
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value:
            raise ValueError(f"{name} must be a name, not the empty string")
        return value
    assert isinstance(value, int | float)
    return _in_range(name, float(value) if isinstance(default, float) else value)


def _in_range(name: str, value: float) -> int | float:
    least = 0.0 if isinstance(value, float) else _LEAST.get(name, 1)
    if not least <= value < float("inf"):  # false for nan, too
        raise ValueError(f"{name} must be finite and at least {least}, not {value!r}")
    return value


def _from_environment(environment: Mapping[str, str]) -> dict[str, bool | int | float | str]:
    """Return the items that the environment sets; warn of each unknown one, once per process.

    Raises:
        PyroError: a value that its item cannot take.
    """
    found: dict[str, bool | int | float | str] = {}
    for variable, text in environment.items():
        if not variable.startswith(_PREFIX):
            continue
        name = variable.removeprefix(_PREFIX)
        if name not in _DEFAULTS:
            _warn_of_unknown(variable, name)
            continue
        try:
            found[name] = _checked(name, _parsed(name, text.strip()))
        except ValueError as error:
            raise PyroError(
                f"the environment variable {variable} has a bad value: {error}. "
                f"Correct it or remove it; the default is {_DEFAULTS[name]!r}."
            ) from None
    return found


def _parsed(name: str, text: str) -> bool | int | float | str:
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        word = text.lower()
        if word in _TRUE_WORDS or word in _FALSE_WORDS:
            return word in _TRUE_WORDS
        raise ValueError(f"{text!r} is none of 1, yes, on, true, 0, no, off, false")
    if isinstance(default, str):
        return text
    kind = type(default)
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {wanted}") from None


def _warn_of_unknown(variable: str, name: str) -> None:
    if variable in _warned:
        return
    _warned.add(variable)
    import warnings

    warnings.warn(
        f"the environment variable {variable} is no setting of pyroipc"
        f"{_did_you_mean(name, prefix=_PREFIX)}; it is ignored",
        RuntimeWarning,
        stacklevel=2,
    )


def _did_you_mean(name: str, prefix: str = "") -> str:
    import difflib

    close = difflib.get_close_matches(name.upper(), _DEFAULTS, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


config: Final = Settings()
"""The settings that are used wherever none are given."""
