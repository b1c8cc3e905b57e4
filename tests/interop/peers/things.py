"""What the servers of all three libraries host: the same objects, made with the names of each."""

from __future__ import annotations

import os
import threading

PATIENCE = 10.0


class Unknown(Exception):
    """Nobody else has this class."""


class Point:
    """Travels as a dict, if that is agreed upon."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None

    def to_dict(self):
        return {"__class__": "figures.Point", "x": self.x, "y": self.y}

    @staticmethod
    def from_dict(name, data):
        return Point(data["x"], data["y"])


class Board:
    """What has happened in a server, for others to wait for."""

    def __init__(self):
        self.notes = []
        self._changed = threading.Condition()
        self.gates = {}

    def note(self, what):
        with self._changed:
            self.notes.append(what)
            self._changed.notify_all()

    def wait(self, what):
        with self._changed:
            return self._changed.wait_for(lambda: what in self.notes, PATIENCE)

    def gate(self, name):
        with self._changed:
            return self.gates.setdefault(name, threading.Event())


board = Board()


def text(value):
    """Return the text that some bytes are, whatever a serializer has made of them."""
    if isinstance(value, dict):  # of serpent
        import serpent

        value = serpent.tobytes(value)
    return bytes(value).decode("latin-1")


def known_errors(lib):
    return {
        "ValueError": ValueError("boom", 5),
        "KeyError": KeyError("key"),
        "ZeroDivisionError": ZeroDivisionError("division"),
        "FileNotFoundError": FileNotFoundError(2, "No such file", "there"),
        "StopIteration": StopIteration(3),
        "Unknown": Unknown("only here", 7),
        "NamingError": lib.errors.NamingError("no such name"),
        "PyroError": lib.errors.PyroError("of Pyro"),
        "CommunicationError": lib.errors.CommunicationError("a line broke"),
        "SecurityError": lib.errors.SecurityError("not for you"),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt("of the method"),
    }


class Resource:
    """Says when it is closed."""

    def __init__(self, name):
        self._name = name

    def close(self):
        board.note(f"closed {self._name}")


resources = {}  # nobody else holds them: a library does so weakly


def basics(lib):  # noqa: C901 - many short methods
    """Make an object for plain calls, attributes, exceptions."""

    class Basics:
        def __init__(self):
            self._value = 1

        @lib.expose
        def echo(self, x=None):
            return x

        @lib.expose
        def add(self, a, b=2):
            return a + b

        @lib.expose
        def join(self, *args, **kwargs):
            return [list(args), sorted(map(list, kwargs.items()))]

        @lib.expose
        @property
        def value(self):
            return self._value

        @value.setter
        def value(self, value):
            self._value = value

        @lib.expose
        @property
        def constant(self):
            return 42

        @lib.expose
        @property
        def broken(self):
            raise ValueError("broken property")

        @lib.expose
        def fail(self, kind):
            error = known_errors(lib)[kind]
            error.custom = "attribute"
            raise error

        @lib.expose
        def fail_deeply(self):
            try:
                return {}["inner"]
            except KeyError as error:
                raise ValueError("outer") from error

        @lib.expose
        @lib.callback
        def fail_loudly(self):
            raise ValueError("loud")

        @lib.expose
        def unsendable(self):
            return threading.Lock()

        @lib.expose
        @lib.oneway
        def note(self, what):
            board.note(what)

        @lib.expose
        @lib.oneway
        def fail_unheard(self):
            board.note("unheard")
            raise ValueError("nobody hears this")

        @lib.expose
        def has_noted(self, what):
            return board.wait(what)

        @lib.expose
        def size(self, data):
            return len(data)

        @lib.expose
        def text(self, n):
            return "x" * n

        @lib.expose
        def mirror(self, point):
            return Point(-point.x, point.y)

        @lib.expose
        def is_point(self, x):
            return isinstance(x, Point)

        @lib.expose
        def die(self):
            os._exit(3)

        def hidden(self):
            return "secret"

        def _private(self):
            return "secret"

    return Basics()


def waits(lib):
    """Make an object whose calls take as long as somebody wants."""

    @lib.expose
    class Waits:
        def hold(self, name):
            board.note(f"{name} entered")
            board.gate(f"{name} entered").set()
            if not board.gate(name).wait(PATIENCE):
                raise AssertionError("nobody opened the gate")
            return name

        def entries(self, name):
            """Say how often somebody has come in to be held."""
            return board.notes.count(f"{name} entered")

        def is_held(self, name):
            return board.gate(f"{name} entered").wait(PATIENCE)

        def open(self, name):
            board.gate(name).set()

        def add_up(self, n):
            return n

        def wait_a_moment(self, seconds):
            threading.Event().wait(seconds)

    return Waits()


def streams(lib):
    """Make an object that returns iterators."""

    @lib.expose
    class Streams:
        def count(self, n):
            yield from range(n)

        def count_and_fail(self, n):
            yield from range(n)
            raise ValueError("in the stream")

        def watched(self, name, n):
            try:
                yield from range(n)
            finally:
                board.note(name)

        def add(self, n):
            return n

        def listed(self, n):
            return iter(list(range(n)))

        @property
        def numbers(self):
            return iter([1, 2, 3])

    return Streams()


def contexts(lib):
    """Make an object that says what comes and goes with a call."""

    @lib.expose
    class Contexts:
        def seen(self):
            context = lib.context
            annotations = {
                key: bytes(value).decode("latin-1")
                for key, value in context.annotations.items()
                if key not in {"CORR", "HMAC"}
            }
            return [annotations, str(context.correlation_id)]

        def answer_with(self, annotations):
            lib.context.response_annotations = {
                key: value.encode("latin-1") for key, value in annotations.items()
            }

        def answer_with_and_fail(self, annotations):
            self.answer_with(annotations)
            raise ValueError("after all")

        def annotation_size(self, key):
            return len(lib.context.annotations[key])

        def nested(self, uri, serializer):
            """Ask another server what it sees."""
            with lib.proxy(uri, serializer) as proxy:
                return [str(lib.context.correlation_id), proxy.seen()]

        def address_kind(self):
            return type(lib.context.client_sock_addr).__name__

        def track(self, name):
            lib.context.track_resource(resources.setdefault(name, Resource(name)))

        def has_closed(self, name):
            return board.wait(f"closed {name}")

        def identify(self):
            return [lib.context.seq, lib.context.serializer_id]

    return Contexts()


def blobs(lib):
    """Make an object for data that need not be opened."""

    @lib.expose
    class Blobs:
        def open(self, blob):
            return [blob.info, blob.deserialized()]

        def forward(self, blob):
            """Hand it on to where its info says, without looking."""
            uri, serializer, *_ = blob.info
            with lib.proxy(uri, serializer) as proxy:
                return proxy.open(blob)

        def forward_opened(self, blob):
            """Hand on what is in it, as a blob with another info."""
            uri, serializer, *_ = blob.info
            with lib.proxy(uri, serializer) as proxy:
                return proxy.open(lib.SerializedBlob("anew", blob.deserialized()))

        def stream(self, blob):
            yield from blob.deserialized()

        @lib.oneway
        def drop(self, blob):
            board.note(blob.info)

    return Blobs()


def references(lib):  # noqa: C901 - so are these
    """Make an object for proxies, URIs and registered objects, as arguments and results."""

    @lib.expose
    class References:
        def me(self):
            return self

        def mine(self):
            return {"list": [self, 1]}

        def kind(self, x):
            if isinstance(x, lib.Proxy):
                return ["proxy", str(x._pyroUri)]
            if isinstance(x, lib.URI):
                return ["uri", str(x)]
            return [type(x).__name__, ""]

        def uri(self):
            return lib.URI("PYRO:thing@localhost:4444")

        def same(self, x):
            return x

        def call(self, proxy, member, *args):
            with proxy:
                return getattr(proxy, member)(*args)

        def call_in(self, values, member, *args):
            with values[0]["proxy"] as proxy:
                return getattr(proxy, member)(*args)

        def attribute(self, proxy, name):
            with proxy:
                return getattr(proxy, name)

        def hello(self):
            return f"hello from {lib.name}"

    return References()


def container(lib):
    """Make what looks like a container, where the library has that."""

    @lib.expose
    class Container:
        def __init__(self):
            self._items = {"a": 1, "b": 2}

        def __len__(self):
            return len(self._items)

        def __getitem__(self, key):
            return self._items[key]

        def __setitem__(self, key, value):
            self._items[key] = value

        def __delitem__(self, key):
            del self._items[key]

        def __contains__(self, key):
            return key in self._items

        def __iter__(self):
            return iter(sorted(self._items))

        def __call__(self, x):
            return x + 1

        def names(self):
            return sorted(self._items)

    return Container()


def counters(lib):
    """Make classes whose instances count how often they are called, one for each mode."""

    class Counter:
        def __init__(self):
            self._n = 0

        def count(self):
            self._n += 1
            return self._n

    @lib.behavior(instance_mode="single")
    @lib.expose
    class Single(Counter):
        count = Counter.count

    @lib.behavior(instance_mode="session")
    @lib.expose
    class Session(Counter):
        count = Counter.count

    @lib.behavior(instance_mode="percall")
    @lib.expose
    class PerCall(Counter):
        count = Counter.count

    return {"single": Single, "session": Session, "percall": PerCall}


def make_objects(lib):
    """Return the objects to register, by their ids."""
    lib.register_class(Point, "figures.Point", Point.to_dict, Point.from_dict)
    makers = (basics, waits, streams, contexts, blobs, references, container)
    return {**{make.__name__: make(lib) for make in makers}, **counters(lib)}


def guarded(lib):
    """Return a class of daemons that look at who comes, and sign what they send."""

    class Guarded(lib.Daemon):
        def validateHandshake(self, conn, data):
            if data == "silent":
                raise lib.errors.ConnectionClosedError("he is told nothing")
            if data == "unsendable":
                return threading.Lock()
            if not isinstance(data, dict) or data.get("user") != "me":
                raise PermissionError(f"who is {data!r}?")
            seen = {
                key: bytes(value).decode("latin-1")
                for key, value in lib.context.annotations.items()
                if key not in {"CORR", "HMAC"}
            }
            return {"welcome": data["user"], "annotations": seen}

        def annotations(self):
            return {"DMON": b"of the daemon"}

        def clientDisconnect(self, conn):
            board.note("disconnected")

    return Guarded
