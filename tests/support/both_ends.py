"""Two ends that call each other: what the daemon hosts, and what the caller passes to it."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from typing import Any

import pytest

from pyroipc import Daemon, Proxy, current_context, expose
from pyroipc.server.exposure import behavior, callback, oneway
from tests.support.hosts import HOSTS, unix_pair

SERIALIZERS = ("pickle", "serpent", "json", "marshal", "msgpack")
KINDS = ("thread", "fork")
EVERYWHERE = list(itertools.product(KINDS, SERIALIZERS))


class Unsendable:
    """Nothing can send it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        raise TypeError("it cannot be sent")


@expose
class Near:
    """What a caller registers and passes: it is called back."""

    def __init__(self, name: str = "near") -> None:
        self._name = name
        self.seen: list[Any] = []
        self.came = threading.Event()
        self.lock = threading.RLock()

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def note(self, x: Any) -> Any:
        self.seen.append(x)
        self.came.set()
        return x

    @oneway
    def hear(self, x: Any) -> None:
        self.seen.append(x)
        self.came.set()

    def where(self) -> tuple[int, int]:
        return os.getpid(), threading.get_ident()

    def fail(self, text: str) -> None:
        raise ValueError(text, self)

    @callback
    def fail_loudly(self, text: str) -> None:
        raise ValueError(text)

    def count(self, n: int) -> Any:
        yield from range(n)

    def down(self, far: Any, n: int) -> int:
        return 0 if n == 0 else 1 + far.down(self, n - 1)

    def take_lock(self) -> bool:
        if not self.lock.acquire(timeout=5):
            return False
        self.lock.release()
        return True

    def context(self) -> list[Any]:
        return context_now()


def context_now() -> list[Any]:
    return [
        str(current_context.correlation_id),
        sorted(current_context.annotations),
        current_context.client is not None,
    ]


@expose
class Far:
    """What a daemon hosts: it keeps what it is given, and calls it."""

    def __init__(self) -> None:
        self._kept: Any = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def echo(self, x: Any = None) -> Any:
        return x

    def add(self, a: int, b: int) -> int:
        return a + b

    def pid(self) -> int:
        return os.getpid()

    def keep(self, *args: Any, **kwargs: Any) -> None:
        self._kept = (args, kwargs)

    def forget(self) -> None:
        self._kept = None

    def kept(self) -> Any:
        return self._kept[0][0]

    def call(self, member: str, *args: Any) -> Any:
        return getattr(self._kept[0][0], member)(*args)

    def call_all(self, member: str, *args: Any) -> list[Any]:
        args_, kwargs = self._kept
        return [getattr(x, member)(*args) for x in proxies_in([args_, kwargs])]

    def read(self, name: str) -> Any:
        return getattr(self._kept[0][0], name)

    def write(self, name: str, value: Any) -> None:
        setattr(self._kept[0][0], name, value)

    def total(self, n: int) -> int:
        return sum(self._kept[0][0].count(n))

    def are_same(self, a: Any, b: Any) -> bool:
        return a is b and (self._kept is None or a is self._kept[0][0])

    def down(self, near: Any, n: int) -> int:
        return 0 if n == 0 else 1 + near.down(self, n - 1)

    def me(self) -> Far:
        return self

    def is_me(self, x: Any) -> bool:
        return x is self

    def call_later(self, member: str, *args: Any) -> None:
        """Call from a thread that belongs to no call."""
        method = getattr(self._kept[0][0], member)
        thread = threading.Thread(target=method, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> bool:
        for thread in self._threads:
            thread.join(10)
        alive = any(thread.is_alive() for thread in self._threads)
        self._threads.clear()
        return not alive

    def fail_with(self, x: Any) -> None:
        raise ValueError("failed with", x)

    def fail_with_attribute(self, x: Any) -> None:
        error = ValueError("failed")
        error.culprit = x  # type: ignore[attr-defined]
        raise error

    def stream_of(self, x: Any, n: int) -> Any:
        for _ in range(n):
            yield [x]

    def with_it(self, near: Any) -> Any:
        with near as it:
            it.note("inside")
        return near.note("outside")

    def end(self) -> None:
        os._exit(3)

    def fail_badly(self, near: Any) -> Any:
        return {"near": [near], "bad": Unsendable()}

    def return_near(self, near: Any) -> Any:
        return {"near": [near, near]}

    def context(self) -> list[Any]:
        return context_now()


def proxies_in(value: Any) -> list[Any]:
    if isinstance(value, Proxy):
        return [value]
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return [proxy for item in value for proxy in proxies_in(item)]
    return []


@expose
@behavior(instance_mode="session")
class SessionFar(Far):
    pass


@expose
@behavior(instance_mode="single")
class SingleFar(Far):
    pass


class Link:
    """A proxy for a Far, and a daemon of this end to register objects in."""

    def __init__(self, near: Any, host: Any, serializer: str) -> None:
        self.sock = near
        self.host = host
        self.serializer = serializer
        self.proxy = self.connect("far")
        # Any pair will do: the references go over the connection on which they are sent.
        self._pair = unix_pair()
        self.daemon = Daemon(connected_socket=self._pair[0])

    def connect(self, name: str) -> Proxy[Any]:
        proxy: Proxy[Any] = Proxy(name, connected_socket=self.sock)
        proxy._pyroSerializer = self.serializer
        return proxy

    def near(self, *args: Any, **options: Any) -> Near:
        thing = Near(*args)
        self.daemon.register(thing, **options)
        return thing

    @property
    def exports(self) -> dict[str, Any]:
        return self.proxy._pyro_connected().references.exports

    def counts(self) -> list[int]:
        return [exported.count for exported in self.exports.values()]

    def close(self) -> None:
        self.daemon.close()
        for sock in self._pair:
            sock.close()


@contextlib.contextmanager
def linked(kind: str, serializer: str, objects: Any = None, **options: Any) -> Any:
    with HOSTS[kind]({"far": Far(), **(objects or {})}, **options) as (near, host):
        link = Link(near, host, serializer)
        try:
            yield link
        finally:
            link.close()
            link.proxy._pyroRelease()


@pytest.fixture(params=EVERYWHERE, ids="-".join)
def link(request: Any) -> Any:
    with linked(*request.param) as made:
        yield made


def watch(thing: Any) -> threading.Event:
    """Return an event that is set when a thing is gone."""
    gone = threading.Event()
    weakref.finalize(thing, gone.set).atexit = False
    return gone
