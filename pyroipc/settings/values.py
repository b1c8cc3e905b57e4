"""What the items of the settings may be: defaults, types and ranges; text into values and back.

The environment is only read here, and only when asked to be. A wrong value in it is an error that
names the variable; a variable that is no item is worth a warning, and no more, because it may be
meant for another program of the Pyro family.
"""

from __future__ import annotations

import sys

from pyroipc.errors import PyroError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, NoReturn, TypeVar

    Value = bool | int | float | str | list[str] | None
    _N = TypeVar("_N", int, float)

__all__ = [
    "DEFAULTS",
    "PREFIX",
    "SECRETS",
    "checked",
    "copied",
    "from_environment",
    "hint",
    "shown",
]

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

PREFIX: Final = "PYRO_"
_TRUE_WORDS: Final = frozenset({"1", "yes", "on", "true"})
_FALSE_WORDS: Final = frozenset({"0", "no", "off", "false"})

# The default tells the type; None: text, or None. dump() prints them in this order.
DEFAULTS: Final[Mapping[str, Value]] = {
    # serializers and messages
    "SERIALIZER": "serpent",
    "LOCAL_SERIALIZER": "pickle",
    "SERIALIZERS_ACCEPTED": [],
    "SERPENT_BYTES_REPR": False,
    "MAX_MESSAGE_SIZE": 64 * MIB,
    "LOCAL_MAX_MESSAGE_SIZE": 16 * GIB,
    "COMPRESSION": False,
    "COMPRESS_FROM": 1024,
    "HMAC_KEY": "",
    "DETAILED_TRACEBACK": False,
    "DIALECT": "auto",
    "DIALECTS": ["native", "pyro5", "pyro4"],
    # addresses
    "HOST": "localhost",
    "NATHOST": None,
    "NATPORT": 0,
    "PREFER_IP_VERSION": 0,
    # calls and connections
    "COMMTIMEOUT": 0.0,
    "CONNECT_TIMEOUT": 10.0,
    "HANDSHAKE_TIMEOUT": 10.0,
    "WRITE_TIMEOUT": 30.0,
    "MAX_RETRIES": 0,
    "RETRY_SECONDS": 0.1,
    "SPIN_SECONDS": 50e-6,
    "SHARED_MEMORY_MAX": 64 * GIB,
    "SOCK_REUSE": True,
    "SOCK_NODELAY": True,
    "SOCK_KEEPALIVE": 60.0,
    "SOCK_BUFFER": 0,
    "USE_MSG_WAITALL": True,
    # servers
    "SERVERTYPE": "thread",
    "THREADPOOL_SIZE": 80,
    "THREADPOOL_SIZE_MIN": 4,
    "BUSY_TIMEOUT": 5.0,
    "ONEWAY_THREADS": 32,
    "ONEWAY_QUEUE": 1024,
    "POLLTIMEOUT": 2.0,
    "ITER_STREAMING": True,
    "ITER_STREAM_LINGER": 30.0,
    "ITER_STREAM_LIFETIME": 0.0,
    # TLS
    "SSL": False,
    "SSL_SERVERCERT": "",
    "SSL_SERVERKEY": "",
    "SSL_SERVERKEYPASSWD": "",
    "SSL_REQUIRECLIENTCERT": False,
    "SSL_CLIENTCERT": "",
    "SSL_CLIENTKEY": "",
    "SSL_CLIENTKEYPASSWD": "",
    "SSL_CACERTS": "",
    # the name server
    "NS_HOST": "localhost",
    "NS_PORT": 9090,
    "NS_BCHOST": None,
    "NS_BCPORT": 9091,
    "NS_AUTOCLEAN": 0.0,
    "NS_LOOKUP_DELAY": 0.0,
    "NS_DNS_SD": False,
    "BROADCAST_ADDRS": ["<broadcast>", "0.0.0.0"],  # noqa: S104 - sent to, not bound
    # the log
    "LOGFILE": "",
    "LOGLEVEL": "",
    "LOGWIRE": False,
}

_INFINITE: Final = float("inf")
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "COMPRESS_FROM": (0, _INFINITE),
    "MAX_RETRIES": (0, _INFINITE),
    "NATPORT": (0, 65535),
    "NS_BCPORT": (1, 65535),
    "NS_PORT": (1, 65535),
    "PREFER_IP_VERSION": (-_INFINITE, _INFINITE),  # the choices say it
    "POLLTIMEOUT": (0.01, _INFINITE),  # with 0 a daemon would never sleep
    "SOCK_BUFFER": (0, 2**31 - 1),
}
"""Other whole numbers are at least 1, other numbers at least 0.0."""

_CHOICES: Final[Mapping[str, tuple[Value, ...]]] = {
    "DIALECT": ("auto", "native", "pyro5", "pyro4"),
    "DIALECTS": ("native", "pyro5", "pyro4"),
    "PREFER_IP_VERSION": (0, 4, 6),
    "SERVERTYPE": ("thread", "multiplex"),
}
_NEVER_EMPTY: Final = frozenset({"DIALECTS", "LOCAL_SERIALIZER", "NS_HOST", "SERIALIZER"})
SECRETS: Final = frozenset({"HMAC_KEY", "SSL_SERVERKEYPASSWD", "SSL_CLIENTKEYPASSWD"})
_OF_TOOLS: Final = frozenset({"PYRO_HTTPGATEWAY_KEY"})
"""Variables of the Pyro family that are no settings, but that somebody here reads."""

_GONE: Final[Mapping[str, str]] = {
    "AUTOPROXY": "a registered object always travels as a proxy",
    "DILL_PROTOCOL_VERSION": "it is always 5, which every supported Python reads",
    "FLAME_ENABLED": "Flame is in pyroipc.compat.pyro4 only, because its callers can run any code",
    "JSON_MODULE": "it is always Python's own",
    "METADATA": "a daemon always tells what it exposes",
    "ONEWAY_THREADED": "one-way calls always run beside the others; see ONEWAY_THREADS",
    "PICKLE_PROTOCOL_VERSION": "it is always 5, which every supported Python reads",
    "REQUIRE_EXPOSE": "over a network only what is exposed can ever be called",
}
"""Items of Pyro4 that mean nothing here, and why."""

_warned: set[str] = set()


def copied(value: Value) -> Value:
    """Return a value that can be changed without changing the given one."""
    return list(value) if isinstance(value, list) else value


def shown(name: str, value: Value) -> Value:
    """Return what may be shown of a value: ``"***"`` for keys and passwords."""
    return "***" if value and name in SECRETS else value


def hint(name: str, prefix: str = "") -> str:
    """Return what helps somebody who used a name that is no item, as the end of a sentence."""
    if name in _GONE:
        return f": {_GONE[name]}"
    import difflib

    close = difflib.get_close_matches(name.upper(), DEFAULTS, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def checked(name: str, value: object) -> Value:
    """Return the value in the type of its item.

    Raises:
        TypeError: the item takes another type.
        ValueError: the value is out of range.
    """
    found = _CHECKS[type(DEFAULTS[name])](name, value)
    choices = _CHOICES.get(name)
    if choices:
        *others, last = map(repr, choices)
        for item in found if isinstance(found, list) else [found]:
            if item not in choices:
                raise ValueError(f"{name} must be {', '.join(others)} or {last}, not {item!r}")
    if not found and name in _NEVER_EMPTY:
        raise ValueError(f"{name} must name something")
    return found


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Say that the type is wrong.

    Raises:
        TypeError: always.
    """
    text = "" if name in SECRETS else f": {value!r}"
    raise TypeError(f"{name} must be of type {wanted}, not {type(value).__name__}{text}")


def _bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        _refuse(name, value, "bool")
    return value


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(name, value, "int")
    return _in_range(name, value, (1, _INFINITE))


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        _refuse(name, value, "float")
    try:
        number = float(value)
    except OverflowError:  # a very large int
        number = _INFINITE
    return _in_range(name, number, (0.0, _INFINITE))


def _in_range(name: str, value: _N, usual: tuple[float, float]) -> _N:
    """Check the range of a number.

    Raises:
        ValueError: it is outside.
    """
    least, most = _RANGES.get(name, usual)
    if least <= value <= most and value < _INFINITE:  # false for nan, too
        return value
    allowed = f"finite and at least {least}" if most == _INFINITE else f"from {least} to {most}"
    raise ValueError(f"{name} must be {allowed}, not {value!r}")


def _text(name: str, value: object) -> str:
    """Check a text.

    Raises:
        ValueError: it is empty, and must not be.
    """
    if not isinstance(value, str):
        _refuse(name, value, "str")
    if not value and name in _NEVER_EMPTY:
        raise ValueError(f"{name} must be a name, not the empty string")
    return value


def _text_or_none(name: str, value: object) -> str | None:
    """Check a text that may be missing: None, or empty as a variable may be."""
    if value is not None and not isinstance(value, str):
        _refuse(name, value, "str or None")
    return value or None


def _texts(name: str, value: object) -> list[str]:
    """Check a list of texts. Pyro4 takes a set; a set has no order, so it gets one here."""
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(item, str) for item in value
    ):
        _refuse(name, value, "list, with texts only")
    return sorted(value) if isinstance(value, set | frozenset) else list(value)


_CHECKS: Final[Mapping[type, Callable[[str, object], Value]]] = {
    bool: _bool,
    int: _whole,
    float: _number,
    str: _text,
    list: _texts,
    type(None): _text_or_none,
}


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """Return the items that the environment sets; warn of each unknown one, once per process.

    Raises:
        PyroError: a value that its item cannot take.
    """
    found: dict[str, Value] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name not in DEFAULTS:
            _warn_of_unknown(variable, name)
            continue
        try:
            found[name] = checked(name, _parsed(name, text))
        except ValueError as error:
            raise PyroError(
                f"the environment variable {variable} has a bad value: {error}. "
                f"Correct it or remove it; the default is {DEFAULTS[name]!r}."
            ) from None
    return found


def _parsed(name: str, text: str) -> Value:
    """Read a value of the type of its item.

    Raises:
        ValueError: the text is no such value.
    """
    if name in SECRETS:
        return text  # blanks may be part of a password
    text = text.strip()
    kind = type(DEFAULTS[name])
    if kind is bool:
        word = text.lower()
        if word in _TRUE_WORDS or word in _FALSE_WORDS:
            return word in _TRUE_WORDS
        raise ValueError(f"{text!r} is none of 1, yes, on, true, 0, no, off, false")
    if kind is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {wanted}") from None


def _warn_of_unknown(variable: str, name: str) -> None:
    if variable in _warned or variable in _OF_TOOLS:
        return
    if name in _GONE and "pyroipc.compat.pyro4" in sys.modules:
        return  # it is looked at there
    _warned.add(variable)
    import warnings

    warnings.warn(
        f"the environment variable {variable} is no setting of pyroipc"
        f"{hint(name, prefix=PREFIX)}; it is ignored",
        RuntimeWarning,
        stacklevel=2,
    )
