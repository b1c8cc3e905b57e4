"""The settings, and ``config``: the instance that is used wherever none is given.

They are read once, when a daemon, a proxy or a child is made, and travel down from there as plain
values: changing ``config`` later changes what is made later. The environment variable
``PYRO_<NAME>`` gives the initial value of the item ``<NAME>``.

The names in capitals are Pyro's, and where Pyro has an item it means the same here. The table in
``docs/reference/settings.md`` shows them beside those of Pyro5 and Pyro4.
"""

from __future__ import annotations

import os

from pyroipc.settings.values import (
    DEFAULTS,
    PREFIX,
    SECRETS,
    checked,
    copied,
    from_environment,
    hint,
    shown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from pyroipc.settings.values import Value

__all__ = ["Settings", "config"]


class Settings:
    """A set of settings. Items are attributes; a name that is not an item cannot be assigned.

    Assigning checks the value: ``TypeError`` if its type is not that of the default,
    ``ValueError`` if it is out of range. Any thread may read and assign.

    Args:
        use_environment: whether to begin with the values of the ``PYRO_*`` variables.

    Raises:
        PyroError: a ``PYRO_*`` variable has a value that its item cannot take.
    """

    __slots__ = (*DEFAULTS, "_sources")

    _sources: dict[str, str]

    SERIALIZER: str
    """The serializer of calls over a network. Default ``"serpent"``."""

    LOCAL_SERIALIZER: str
    """The serializer of calls over a channel that is verified to be local, such as the one to a
    spawned child. Default ``"pickle"``."""

    SERIALIZERS_ACCEPTED: list[str]
    """The serializers that a daemon accepts. Default ``[]``: all that trust allows. It can only
    narrow that: naming pickle does not let pickle in from a network."""

    SERPENT_BYTES_REPR: bool
    """Taken from Pyro, without effect. Default False. Peers of pyroipc get bytes as bytes; peers
    that are Pyro get the dict that ``serpent.tobytes`` turns into bytes."""

    MAX_MESSAGE_SIZE: int
    """The largest message that is sent or accepted, in bytes. Default 64 MiB, at least 1."""

    LOCAL_MAX_MESSAGE_SIZE: int
    """The same for a channel that is verified to be local, in bytes. Default 16 GiB, at
    least 1."""

    COMPRESSION: bool
    """Whether messages are sent compressed where that makes them smaller. Default False."""

    COMPRESS_FROM: int
    """The smallest payload that is worth the work of compressing, in bytes. Default 1024."""

    HMAC_KEY: str
    """The secret that both ends must know: each message is signed with it. Default ``""``: none.
    Never shown."""

    DETAILED_TRACEBACK: bool
    """Whether remote tracebacks show the values of local variables. Default False."""

    DIALECT: str
    """What a proxy takes the daemon at an address to speak: ``"native"``, ``"pyro5"`` or
    ``"pyro4"``. Default ``"auto"``: it finds out. Over a connected socket ``"auto"`` is native."""

    DIALECTS: list[str]
    """What clients of a daemon may speak. Default ``["native", "pyro5", "pyro4"]``; at least
    one."""

    HOST: str
    """Where a daemon listens. Default ``"localhost"``; ``""``: on all addresses."""

    NATHOST: str | None
    """The host that a daemon publishes, if that is not where it listens: the outside of a router
    with NAT. Default None."""

    NATPORT: int
    """The port that goes with it. Default 0: the same as inside."""

    PREFER_IP_VERSION: int
    """4 or 6: which addresses to use of a host that has both. Default 0: as the system says."""

    COMMTIMEOUT: float
    """How long a whole call may take, in seconds; in a daemon, how long a client may be idle
    before it is let go. Default 0.0: as long as it takes."""

    CONNECT_TIMEOUT: float
    """How long connecting may take, in seconds, apart from the call. Default 10.0; 0.0: as long
    as it takes."""

    HANDSHAKE_TIMEOUT: float
    """How long the first exchange on a connection may take, in seconds. Default 10.0; 0.0: as long
    as it takes."""

    WRITE_TIMEOUT: float
    """How long a client may take no byte of its answer before it is cut off, in seconds.
    Default 30.0; 0.0: as long as it takes."""

    MAX_RETRIES: int
    """How often a method call is made again after the connection was lost or time ran out.
    Default 0, at least 0; the peer may then run a call more than once."""

    RETRY_SECONDS: float
    """The pause before the first of these retries, in seconds; it doubles each time, up to 2 s.
    Default 0.1."""

    SPIN_SECONDS: float
    """How long to look for an answer from another process before going to sleep, in seconds.
    Default 50e-6 (50 µs); 0.0 turns it off."""

    SHARED_MEMORY_MAX: int
    """How much shared memory of others this process maps in all, in bytes; read from
    ``pyroipc.config`` whenever some arrives. Default 64 GiB."""

    SOCK_REUSE: bool
    """Whether a daemon may listen on a port that an ended one has just left. Default True."""

    SOCK_NODELAY: bool
    """Whether TCP sends at once. Default True, unlike in Pyro: somebody waits for each message,
    and to hold back its last piece until the peer confirms the others can cost 40 ms."""

    SOCK_KEEPALIVE: float
    """After how many idle seconds TCP asks whether the peer is still there. Default 60.0; 0.0:
    never."""

    SOCK_BUFFER: int
    """The size of the kernel's buffers of a connection, in bytes. Default 0: as the kernel
    thinks."""

    USE_MSG_WAITALL: bool
    """Taken from Pyro4, without effect. Default True; we do not rely on MSG_WAITALL: a receive
    takes what there is."""

    SERVERTYPE: str
    """How a daemon runs calls: ``"thread"``, on a pool of threads, or ``"multiplex"``, one after
    the other. Default ``"thread"``."""

    THREADPOOL_SIZE: int
    """The most threads that run the calls of a daemon. Default 80; idle clients need none."""

    THREADPOOL_SIZE_MIN: int
    """How many of them are kept when there is nothing to do. Default 4."""

    BUSY_TIMEOUT: float
    """How long a request waits for a thread before the answer is that the daemon is busy, in
    seconds. Default 5.0."""

    ONEWAY_THREADS: int
    """The most threads that run the one-way calls of a daemon. Default 32."""

    ONEWAY_QUEUE: int
    """How many one-way calls may wait on a connection before its sender is made to wait.
    Default 1024, at least 1."""

    POLLTIMEOUT: float
    """How often a daemon asks its loop condition and tidies up, at least, in seconds.
    Default 2.0, at least 0.01."""

    ITER_STREAMING: bool
    """Whether an iterator that a method returns is sent to the caller item by item. Default True;
    else such a result is an error."""

    ITER_STREAM_LINGER: float
    """How long an unfinished stream is kept after its connection has ended, in seconds, for a
    caller that connects again. Default 30.0; 0.0: not at all."""

    ITER_STREAM_LIFETIME: float
    """How long a stream may live, in seconds. Default 0.0: as long as it takes."""

    SSL: bool
    """Whether connections over TCP use TLS. Default False."""

    SSL_SERVERCERT: str
    """The file with the certificate of a daemon. Default ``""``: none."""

    SSL_SERVERKEY: str
    """The file with its private key. Default ``""``: it is in the file of the certificate."""

    SSL_SERVERKEYPASSWD: str
    """The password of that key. Default ``""``: none. Never shown."""

    SSL_REQUIRECLIENTCERT: bool
    """Whether a daemon lets in only clients with a certificate. Default False."""

    SSL_CLIENTCERT: str
    """The file with the certificate that a proxy shows. Default ``""``: none."""

    SSL_CLIENTKEY: str
    """The file with its private key. Default ``""``: it is in the file of the certificate."""

    SSL_CLIENTKEYPASSWD: str
    """The password of that key. Default ``""``: none. Never shown."""

    SSL_CACERTS: str
    """A file or directory with the certificates of those who vouch for a peer. Default ``""``:
    those that the system trusts."""

    NS_HOST: str
    """Where the name server is looked for. Default ``"localhost"``. There may be several places,
    as in ``"ns1.lan, ns2.lan:9091, ./u:/run/ns.sock"``; the first that answers is taken."""

    NS_PORT: int
    """The port of the name server, where NS_HOST has none. Default 9090."""

    NS_BCHOST: str | None
    """Where the name server listens for broadcasts. Default None: at all addresses."""

    NS_BCPORT: int
    """The port of these broadcasts. Default 9091."""

    NS_AUTOCLEAN: float
    """How often the name server looks for entries without a lease whose servers are gone, and
    drops them, in seconds; at least 3. Default 0.0: never."""

    NS_LOOKUP_DELAY: float
    """How long to wait for a name that is not registered yet, in seconds. Default 0.0."""

    NS_DNS_SD: bool
    """Whether a name server announces itself by DNS-SD (multicast DNS), and clients that do not
    find one otherwise look for that. Default False. Needs the extra ``zeroconf``."""

    BROADCAST_ADDRS: list[str]
    """Where broadcasts are sent. Default ``["<broadcast>", "0.0.0.0"]``."""

    LOGFILE: str
    """The file for the log, or ``"{stderr}"``, when pyroipc is imported. Default ``""``."""

    LOGLEVEL: str
    """The level of the log, when pyroipc is imported. Default ``""``: no log is set up."""

    LOGWIRE: bool
    """Whether each message is logged, at level DEBUG. Default False."""

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
        given = from_environment(os.environ) if use_environment else {}
        for name, value in {**DEFAULTS, **given}.items():
            object.__setattr__(self, name, copied(value))
        sources = {name: f"environment {PREFIX}{name}" for name in given}
        object.__setattr__(self, "_sources", sources)

    def copy(self) -> Settings:
        """Return a new instance with the same values; the environment is not read again."""
        return self._restored(self.as_dict(), dict(self._sources))

    def as_dict(self) -> dict[str, Value]:
        """Return the items as a new dict, name to value; secrets are in it."""
        return {name: copied(getattr(self, name)) for name in DEFAULTS}

    def changed(self, *, secrets: bool = True) -> dict[str, Value]:
        """Return the items that are not as by default, as a new dict, name to value.

        Args:
            secrets: False leaves out keys and passwords, for what others may see, such as the
                command line of a process.
        """
        hidden: frozenset[str] = frozenset() if secrets else SECRETS
        return {
            name: value
            for name, value in self.as_dict().items()
            if value != DEFAULTS[name] and name not in hidden
        }

    def source(self, name: str) -> str:
        """Say where the value of an item is from.

        Returns:
            ``"default"``, ``"environment PYRO_<NAME>"``, or ``"assigned"``.

        Raises:
            AttributeError: there is no such item.
        """
        if name not in DEFAULTS:
            raise AttributeError(f"there is no setting {name!r}{hint(name)}")
        return self._sources.get(name, "default")

    def shown(self) -> dict[str, Value]:
        """Return the items as they may be shown: ``"***"`` stands for keys and passwords."""
        return {name: shown(name, value) for name, value in self.as_dict().items()}

    def dump(self) -> str:
        """Return the items as text, one ``NAME = value`` per line, the changed ones marked.

        Keys and passwords are not in it.
        """
        changed = self.changed()
        return "\n".join(
            f"{name} = {value!r}{'   # changed' if name in changed else ''}"
            for name, value in self.shown().items()
        )

    def __setattr__(self, name: str, value: object) -> None:
        if name not in DEFAULTS:
            raise AttributeError(f"there is no setting {name!r}{hint(name)}")
        object.__setattr__(self, name, checked(name, value))
        self._sources[name] = "assigned"

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a setting cannot be deleted; reset() sets the defaults")

    def __repr__(self) -> str:
        items = [f"{name}={shown(name, value)!r}" for name, value in self.changed().items()]
        return f"<Settings {', '.join(items) or 'as by default'}>"

    def __reduce__(self) -> tuple[object, ...]:
        return self._restored, (self.as_dict(), dict(self._sources))

    @classmethod
    def _restored(cls, items: Mapping[str, Value], sources: dict[str, str]) -> Settings:
        twin = cls(use_environment=False)
        for name, value in items.items():
            setattr(twin, name, value)
        object.__setattr__(twin, "_sources", sources)
        return twin


config: Final = Settings()
"""The settings that are used wherever none are given."""
