"""What clients of all three libraries do; each returns plain values for a test to look at."""

from __future__ import annotations

import socket
import threading
import uuid

from tests.interop.peers.things import PATIENCE, Point, text


def described(lib, error):
    """Describe an exception as it arrived."""
    return {
        "class": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "args": list(error.args),
        "custom": getattr(error, "custom", None),
        "traceback": "".join(getattr(error, "_pyroTraceback", None) or []),
        "shown": lib.traceback_of(error),
    }


def outcome(lib, function, *args, **kwargs):
    """Return what a function returns, or describe what it raises."""
    try:
        return function(*args, **kwargs)
    except (
        Exception,
        SystemExit,
        KeyboardInterrupt,
    ) as error:  # not what ends a test that takes too long
        return described(lib, error)


def call(lib, uri, serializer, member, *args, attributes=None, **kwargs):
    """Make one call over a connection of its own."""
    with lib.proxy(uri, serializer, **(attributes or {})) as proxy:
        return outcome(lib, lambda: getattr(proxy, member)(*args, **kwargs))


def in_threads(n_threads, function):
    """Call a function with 0, 1, ... at the same time; return what it returns."""
    found = [None] * n_threads

    def run(number):
        found[number] = function(number)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return found


# --- calls ---------------------------------------------------------------------------------------


def calls(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        return [
            proxy.echo(42),
            proxy.echo({"a": [1, 2.5, None, True], "b": "ü"}),
            proxy.echo(),
            proxy.add(1),
            proxy.add(1, b=5),
            proxy.add(b=6, a=1),
            proxy.join(1, 2, x=3, y=4),
            proxy.join(),
        ]


def echoes(lib, uri, serializer, values):
    """Return what comes back of each value, or the class of the error."""
    with lib.proxy(uri, serializer) as proxy:
        found = []
        for value in values:
            answer = outcome(lib, proxy.echo, value)
            is_error = isinstance(answer, dict) and "traceback" in answer
            found.append(answer["class"] if is_error else answer)
        return found


def attributes(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        before = proxy.value
        proxy.value = [1, "two"]
        after = proxy.value
        proxy.value = 1

        def write_constant():
            proxy.constant = 7

        return {
            "before": before,
            "after": list(after),
            "constant": proxy.constant,
            "broken": outcome(lib, lambda: proxy.broken),
            "write constant": outcome(lib, write_constant),
            "hidden": outcome(lib, lambda: proxy.hidden()),
            "raw hidden": outcome(lib, proxy._pyroInvoke, "hidden", (), {}),
            "raw private": outcome(lib, proxy._pyroInvoke, "_private", (), {}),
            "raw missing": outcome(lib, proxy._pyroInvoke, "missing", (), {}),
            "still there": proxy.add(1),
        }


def members(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        return [sorted(proxy._pyroMethods), sorted(proxy._pyroAttrs), sorted(proxy._pyroOneway)]


def exception(lib, uri, serializer, kind):
    """Raise it over there; then make another call."""
    with lib.proxy(uri, serializer) as proxy:
        told = outcome(lib, proxy.fail, kind)
        return told, outcome(lib, proxy.add, 1)


def oneways(lib, uri, serializer, what):
    with lib.proxy(uri, serializer) as proxy:
        answer = proxy.note(what)
        unheard = proxy.fail_unheard()
        return [answer, unheard, proxy.has_noted(what), proxy.has_noted("unheard")]


def forced_oneway(lib, uri, serializer, what):
    """Call without waiting what is no oneway method by itself."""
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        proxy._pyroOneway.add("echo")
        return [proxy.echo(what), proxy.has_noted("nothing") if what is None else proxy.add(1)]


def classes(lib, uri, serializer):
    lib.register_class(Point, "figures.Point", Point.to_dict, Point.from_dict)
    try:
        with lib.proxy(uri, serializer) as proxy:
            point = proxy.mirror(Point(1, 2))
            return [type(point).__name__, point.x, point.y, proxy.is_point(Point(0, 0))]
    finally:
        lib.unregister_class(Point, "figures.Point")


def raw_batch(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        return proxy._pyroInvokeBatch([("add", (1,), {}), ("add", (2,), {"b": 3})])


# --- batches -------------------------------------------------------------------------------------


def batch(lib, uri, serializer, what):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        many.add(1)
        many.add(1, b=5)
        many.join(1, x=2)
        results = list(many())
        many.add(3)
        again = list(many())
        many.note(what)
        many.note(f"{what} again")
        oneway = many(oneway=True)
        return [
            results,
            again,
            oneway,
            proxy.has_noted(what),
            proxy.has_noted(f"{what} again"),
            list(lib.batch(proxy)()),
        ]


def failing_batch(lib, uri, serializer, what, kind="ValueError"):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        many.add(1)
        many.fail(kind)
        many.note(what)
        results = many()
        return [next(results), outcome(lib, next, results), proxy.add(1)]


def batch_with_missing_member(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        many.add(1)
        many.missing()
        return [outcome(lib, lambda: list(many())), proxy.add(1)]


def results_before_missing_member(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        many.add(1)
        many.missing()
        results = outcome(lib, many)
        if isinstance(results, dict):
            return [results]
        return [outcome(lib, next, results), outcome(lib, next, results)]


def iterator_in_batch(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        many.count(2)
        return [outcome(lib, lambda: list(many())), list(proxy.count(1))]


def large_batch(lib, uri, serializer, n):
    with lib.proxy(uri, serializer) as proxy:
        many = lib.batch(proxy)
        for i in range(n):
            many.echo(i)
        return sum(many())


# --- streams -------------------------------------------------------------------------------------


def streams(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        stream = proxy.count(3)
        items = [next(stream), next(stream), next(stream)]
        ends = [outcome(lib, next, stream, "over"), outcome(lib, next, stream, "over")]
        first, second = proxy.count(2), proxy.count(3)
        in_turns = [next(first), next(second), proxy.count(0).close(), next(first), next(second)]
        return [items, ends, list(proxy.listed(2)), in_turns, list(proxy.count(0))]


def stream_of_attribute(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        return list(proxy.numbers)


def failing_stream(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        stream = proxy.count_and_fail(1)
        first, told = next(stream), outcome(lib, next, stream)
        return [first, told, outcome(lib, next, stream, "over"), list(proxy.count(1))]


def closed_stream(lib, streams_uri, basics_uri, serializer, name, how):
    """Leave a stream half read; return whether the generator over there was closed."""
    with lib.proxy(streams_uri, serializer) as proxy:
        stream = proxy.watched(name, 5)
        first = next(stream)
        if how == "close":
            stream.close()
        elif how == "drop":
            del stream
        with lib.proxy(basics_uri, serializer) as basics:
            return [first, basics.has_noted(name)]


def closed_late(lib, streams_uri, basics_uri, serializer, name):
    """Make another call before a stream is closed."""
    with lib.proxy(streams_uri, serializer) as proxy:
        stream = proxy.watched(name, 5)
        first = next(stream)
        others = list(proxy.count(1))
        stream.close()
        with lib.proxy(basics_uri, serializer) as basics:
            return [first, others, basics.has_noted(name)]


def refused_stream(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        return [outcome(lib, proxy.count, 3), proxy.add(1)]


def stream_that_is_gone(lib, uri, basics_uri, serializer, name):
    """Connect again when the server has seen that the connection has ended."""
    with lib.proxy(uri, serializer) as proxy, lib.proxy(basics_uri, serializer) as basics:
        stream = proxy.watched(name, 3)
        next(stream)
        proxy._pyroRelease()
        basics.has_noted(name)
        proxy._pyroReconnect(tries=1)
        return outcome(lib, next, stream)


def old_stream(lib, uri, waits_uri, serializer):
    with lib.proxy(uri, serializer) as proxy, lib.proxy(waits_uri, serializer) as waits:
        stream = proxy.count(1000)
        next(stream)
        waits.wait_a_moment(0.15)
        return outcome(lib, list, stream)


def sum_of_stream(lib, uri, serializer, n):
    with lib.proxy(uri, serializer) as proxy:
        return sum(proxy.count(n))


def sums_of_streams(lib, uri, serializer, streams, n):
    with lib.proxy(uri, serializer) as proxy:
        opened = [proxy.count(n) for _ in range(streams)]
        return [sum(stream) for stream in opened]


def streams_in_threads(lib, uri, serializer, threads, n):
    return in_threads(threads, lambda _: sum_of_stream(lib, uri, serializer, n))


def lingering_stream(lib, uri, serializer):
    """Read on over another connection."""
    with lib.proxy(uri, serializer) as proxy:
        stream = proxy.count(3)
        first = next(stream)
        proxy._pyroRelease()
        closed = outcome(lib, next, stream)
        proxy._pyroReconnect(tries=1)
        return [first, closed["class"], list(stream)]


def stream_id(stream):
    """Return by which name the server knows a stream."""
    return next(
        value
        for name, value in vars(stream).items()
        if name.lower() == "streamid" or name.lower() == "_streamid" or name == "_stream_id"
    )


# --- context -------------------------------------------------------------------------------------


def annotations(lib, uri, serializer, sent):
    """Send annotations, and return those that the server saw, and then others that it sent."""
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        lib.context.annotations = {key: value.encode("latin-1") for key, value in sent.items()}
        seen, _ = proxy.seen()
        lib.context.annotations = {}
        proxy.answer_with({"RESP": "answered", "MORE": ""})
        received = {
            key: bytes(value).decode("latin-1")
            for key, value in lib.context.response_annotations.items()
            if key not in {"CORR", "HMAC"}
        }
        proxy.seen()
        left = set(lib.context.response_annotations) - {"CORR", "HMAC"}
        return [seen, received, sorted(left)]


def send_annotation(lib, uri, serializer, key, n_bytes):
    """Send a large or a wrong annotation, and then make another call."""
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        lib.context.annotations = {key: b"x" * n_bytes}
        answer = outcome(lib, proxy.annotation_size, key)
        lib.context.annotations = {}
        return [answer, outcome(lib, proxy.address_kind)]


def receive_annotation(lib, uri, serializer, key, n_bytes):
    """Have the server answer with one."""
    with lib.proxy(uri, serializer) as proxy:
        answer = outcome(lib, proxy.answer_with, {key: "x" * n_bytes})
        size = len(lib.context.response_annotations.get(key, b""))
        return [answer, size, outcome(lib, proxy.address_kind)]


def annotations_of_failure(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        told = outcome(lib, proxy.answer_with_and_fail, {"RESP": "leak"})
        with_error = sorted(set(lib.context.response_annotations) - {"CORR"})
        proxy.address_kind()
        with_next = sorted(set(lib.context.response_annotations) - {"CORR"})
        return [told["class"], with_error, with_next]


def correlation(lib, uri, serializer, nested_uri=None, nested_serializer=None):
    """Return our correlation id, and what the servers have seen."""
    lib.context.correlation_id = own = uuid.uuid4()
    with lib.proxy(uri, serializer) as proxy:
        if nested_uri is None:
            return [str(own), proxy.seen()[1]]
        there, (_, further) = proxy.nested(nested_uri, nested_serializer)
        return [str(own), there, further]


def no_correlation(lib, uri, serializer, nested_uri):
    """Return what servers see if no correlation id is sent: in two calls, and in a nested one."""
    lib.context.correlation_id = None
    with lib.proxy(uri, serializer) as proxy:
        first, second = proxy.seen()[1], proxy.seen()[1]
        there, (_, further) = proxy.nested(nested_uri, serializer)
        return [first, second, there, further]


def nested_annotations(lib, uri, serializer, nested_uri, nested_serializer):
    """Return those that two servers see, of which the first one calls the second."""
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        lib.context.annotations = {"ABCD": b"ours"}
        _, (nested, _) = proxy.nested(nested_uri, nested_serializer)
        lib.context.annotations = {"ABCD": b"ours"}
        return nested, proxy.seen()[0]


def resources(lib, uri, serializer, name):
    with lib.proxy(uri, serializer) as proxy:
        proxy.track(name)
    with lib.proxy(uri, serializer) as proxy:
        return proxy.has_closed(name)


# --- handshakes ----------------------------------------------------------------------------------


def handshake(lib, uri, serializer, value, annotated=None):
    """Connect with this handshake; return what the proxy was told, or the error, and a result."""
    told = []

    class Curious(lib.Proxy):
        def _pyroValidateHandshake(self, response):
            told.append(response)

    if annotated:
        lib.context.annotations = {key: text.encode() for key, text in annotated.items()}
    proxy = Curious(uri)
    proxy._pyroSerializer, proxy._pyroHandshake = serializer, value
    if annotated:
        lib.context.annotations = {key: text.encode() for key, text in annotated.items()}
    with proxy:
        result = outcome(lib, lambda: proxy.add(1))
        return [told, result, sorted(set(lib.context.response_annotations) - {"CORR"})]


def annotations_of_welcome(lib, uri, serializer, value):
    with lib.proxy(uri, serializer, Handshake=value) as proxy:
        proxy._pyroBind()
        return sorted(set(lib.context.response_annotations) - {"CORR"})


def refused_answer(lib, uri, serializer):
    """Refuse what the server says; return what that was like."""

    class Choosy(lib.Proxy):
        def _pyroValidateHandshake(self, response):
            raise PermissionError(f"I want no {response!r}")

    proxy = Choosy(uri)
    proxy._pyroSerializer = serializer
    with proxy:
        return [outcome(lib, lambda: proxy.echo(1))["class"], proxy._pyroConnection is None]


# --- blobs ---------------------------------------------------------------------------------------


def blob(lib, uri, serializer, info, data):
    with lib.proxy(uri, serializer) as proxy:
        return proxy.open(lib.SerializedBlob(info, data))


def forwarded_blob(lib, uri, serializer, member, info, data):
    with lib.proxy(uri, serializer) as proxy:
        return outcome(lib, getattr(proxy, member), lib.SerializedBlob(info, data))


def odd_blobs(lib, uri, serializer, basics_uri, what):
    with lib.proxy(uri, serializer) as proxy, lib.proxy(basics_uri, serializer) as basics:
        stream = list(proxy.stream(lib.SerializedBlob("s", [1, 2])))
        proxy.drop(lib.SerializedBlob(what, [1]))
        two = outcome(lib, lambda: proxy.open(lib.SerializedBlob("i", 1), 2))
        return [stream, basics.has_noted(what), two["class"], proxy.open(lib.SerializedBlob(1, 2))]


# --- references ----------------------------------------------------------------------------------


def autoproxies(lib, uri, serializer):
    """Use objects that the server returns."""
    with lib.proxy(uri, serializer) as proxy:
        me = proxy.me()
        inside = proxy.mine()["list"][0]
        with me, inside:
            return [isinstance(me, lib.Proxy), str(me._pyroUri), me.hello(), inside.hello()]


def proxies_and_uris(lib, uri, serializer):
    """Send a proxy and a URI, and have them sent back."""
    with lib.proxy(uri, serializer) as proxy:
        other = lib.proxy("PYRO:other@localhost:1234", Handshake={"user": "me"})
        plain = lib.URI("PYRO:thing@localhost:1234")
        sought = lib.URI("PYROMETA:one,two")
        back = proxy.same(other)
        meta = proxy.same(sought)
        return {
            "kind of proxy": proxy.kind(other),
            "kind of uri": proxy.kind(plain),
            "kind of meta": proxy.kind(sought)[0],
            "proxy": [isinstance(back, lib.Proxy), str(back._pyroUri), back._pyroHandshake],
            "uri": proxy.same(plain) == plain,
            "meta": [isinstance(meta, lib.URI), sorted(meta.object)],
            "of server": [isinstance(proxy.uri(), lib.URI), str(proxy.uri())],
        }


def callbacks(lib, uri, serializer):
    """Register an object in a daemon of this end, and have the server call it."""
    seen = []

    @lib.expose
    class Here:
        size = property(lambda self: 7)

        def hear(self, *words):
            seen.append(list(words))
            return f"heard by {lib.name}"

        def fail(self):
            raise ValueError("in the callback", 3)

        def count(self, n):
            yield from range(n)

    daemon = lib.Daemon(host="localhost")
    here = Here()
    daemon.register(here)
    loop = threading.Thread(target=daemon.requestLoop, daemon=True)
    loop.start()
    try:
        with lib.proxy(uri, serializer) as proxy:
            return {
                "kind": proxy.kind(here)[0],
                "heard": proxy.call(here, "hear", 1, "two"),
                "inside": proxy.call_in([{"proxy": here}], "hear", 3),
                "attribute": proxy.attribute(here, "size"),
                "failed": outcome(lib, proxy.call, here, "fail"),
                "back": isinstance(proxy.same(here), lib.Proxy),
                "seen": seen,
            }
    finally:
        daemon.shutdown()
        loop.join(PATIENCE)
        daemon.close()


def pass_without_address(lib, uri, serializer):
    """Pass an object of a daemon that serves nothing but a pair of sockets."""

    @lib.expose
    class Here:
        def hear(self):
            return None

    near, far = socket.socketpair()
    with near, far:
        daemon = lib.Daemon(connected_socket=near)
        here = Here()
        daemon.register(here)
        try:
            with lib.proxy(uri, serializer) as proxy:
                return outcome(lib, proxy.kind, here)
        finally:
            daemon.close()


def uri_of_result(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        return str(proxy.me()._pyroUri)


def passed_on(lib, uri, serializer, other_uri):
    """Have one server call an object of another one, for which it is given our proxy."""
    with lib.proxy(uri, serializer) as proxy:
        other = lib.proxy(other_uri)
        return [proxy.call(other, "hello"), proxy.kind(other)]


# --- connections ---------------------------------------------------------------------------------


def late_answer(lib, uri, serializer, name):
    """Give up a call, have it answered then, and make others over the same proxy."""
    with lib.proxy(uri, serializer, Timeout=0.2) as proxy, lib.proxy(uri, serializer) as other:
        proxy._pyroBind()
        given_up = outcome(lib, proxy.hold, name)
        other.open(name)
        other.open(f"{name} 2")
        proxy._pyroTimeout = PATIENCE
        return [given_up["class"], proxy.hold(f"{name} 2"), proxy.is_held(name)]


def reconnected(lib, uri, serializer):
    proxy = lib.proxy(uri, serializer)
    found = [proxy.add(1)]
    proxy._pyroRelease()
    found.append(proxy._pyroConnection is None)
    found.append(proxy.add(2))
    proxy._pyroReconnect(tries=1)
    found.append(proxy.add(3))
    proxy._pyroRelease()
    return found


def wrapped_numbers(lib, uri, serializer, beginning, count):
    """Make calls whose numbers go over the largest that there is."""
    with lib.proxy(uri, serializer) as proxy:
        proxy._pyroBind()
        proxy._pyroSeq = beginning
        return [proxy.add(n, 0) for n in range(count)], proxy._pyroSeq


def many_connections(lib, uri, serializer, n):
    return [call(lib, uri, serializer, "add", 1) for _ in range(n)]


def calls_in_threads(lib, uri, serializer, threads, n):
    """Call in several threads, each with a proxy of its own."""

    def run(_):
        with lib.proxy(uri, serializer) as proxy:
            return [proxy.echo(i) for i in range(n)]

    return in_threads(threads, run)


def instances(lib, uri, serializer):
    """Count over two connections, twice each."""
    with lib.proxy(uri, serializer) as one, lib.proxy(uri, serializer) as two:
        return [one.count(), one.count(), two.count(), two.count()]


def daemon_object(lib, uri, serializer):
    with lib.proxy(uri, serializer) as proxy:
        registered = proxy.registered()
        metadata = proxy.get_metadata("basics")
        return {
            "registered": sorted(registered),
            "ping": proxy.ping(),
            "info": proxy.info(),
            "metadata": {key: sorted(names) for key, names in metadata.items()},
            "unknown class": outcome(lib, proxy.get_metadata, "nope")["class"],
            "unknown": outcome(lib, proxy.get_metadata, "nope")["args"],
        }


def large(lib, uri, serializer, n_bytes):
    """Send and receive something large."""
    with lib.proxy(uri, serializer) as proxy:
        sent = outcome(lib, proxy.size, "x" * n_bytes)
        received = outcome(lib, lambda: len(proxy.text(n_bytes)))
        return [sent, received, outcome(lib, proxy.add, 1)]


def configured(lib, changes, name, *args, **kwargs):
    """Run another scenario with changed settings."""
    before = {key: getattr(lib.config, key) for key in changes}
    try:
        for key, value in changes.items():
            setattr(lib.config, key, value)
        return globals()[name](lib, *args, **kwargs)
    finally:
        for key, value in before.items():
            setattr(lib.config, key, value)


def shown_bytes(lib, uri, serializer, data):
    """Send bytes and return the text that the ones are that come back."""
    with lib.proxy(uri, serializer) as proxy:
        return text(proxy.echo(data))


# --- manners -------------------------------------------------------------------------------------


def container(lib, uri, serializer):
    """Use a remote object with operators, as proxies of Pyro5 and ours can be."""
    with lib.proxy(uri, serializer) as proxy:
        found = [len(proxy), proxy["a"], list(proxy)]
        proxy["c"] = 3
        found.append(proxy.names())
        del proxy["c"]
        return [*found, proxy.names(), bool(proxy), outcome(lib, lambda: proxy["z"])["class"]]


def asynchronous_calls(lib, uri, serializer):
    """Call with Pyro4's own asynchronous proxies."""
    with lib.proxy(uri, serializer) as proxy:
        lib.api.asyncproxy(proxy)
        results = [proxy.add(n) for n in range(10)]
        failed = proxy.fail("ValueError")
        chained = proxy.add(1).then(lambda x: x * 2)
        many = lib.batch(proxy)
        many.add(1)
        many.add(2)
        return [
            [result.value for result in results],
            outcome(lib, lambda: failed.value)["class"],
            chained.value,
            list(many(asynchronous=True).value),
        ]


def hooks(lib, uri, serializer):
    """Override what a proxy adds to requests and sees of answers (Pyro4's hooks, and ours)."""
    seen = []

    class Hooked(lib.Proxy):
        def _pyroAnnotations(self):
            return {"HOOK": b"of mine"}

        def _pyroResponseAnnotations(self, annotations, msgtype):
            seen.append(sorted(set(annotations) - {"CORR"}))

    proxy = Hooked(uri)
    proxy._pyroSerializer = serializer
    with proxy:
        annotations, _ = proxy.seen()
        del seen[:]
        proxy.answer_with({"RESP": "x"})
        return [annotations, seen]


def retried(lib, uri, serializer, name):
    """Have a call that takes too long made again."""
    with lib.proxy(uri, serializer, Timeout=0.1, MaxRetries=2) as proxy:
        told = outcome(lib, lambda: proxy.hold(name))
        with lib.proxy(uri, serializer) as other:
            other.open(name)
            return [told["class"], other.entries(name)]


def leave_tracked(lib, uri, serializer, name):
    """Track a resource, and keep the connection."""
    proxy = lib.proxy(uri, serializer)
    kept.append(proxy)
    return proxy.track(name)


kept = []


def keep(lib, uri, serializer):
    """Call, and keep the proxy."""
    kept.append(lib.proxy(uri, serializer))
    return kept[-1].add(1)


def call_kept(lib):
    """Call with the proxy that was kept."""
    return outcome(lib, lambda: kept[-1].add(1))


def call_twice(lib, uri, serializer, member, *args):
    with lib.proxy(uri, serializer) as proxy:
        first = outcome(lib, lambda: getattr(proxy, member)(*args))
        return first, outcome(lib, lambda: getattr(proxy, member)(*args))


def hold_connections(lib, uri, serializer, n):
    """Have many connections at once, and call over each."""
    proxies = [lib.proxy(uri, serializer) for _ in range(n)]
    try:
        return [proxy.add(1) for proxy in proxies]
    finally:
        for proxy in proxies:
            proxy._pyroRelease()


# --- keys and pickle -----------------------------------------------------------------------------


def stream_with_key(lib, uri, serializer, key):
    with lib.proxy(uri, serializer, HmacKey=key) as proxy:
        return list(proxy.count(3))


def oneway_with_key(lib, uri, serializer, key, what):
    with lib.proxy(uri, serializer, HmacKey=key) as proxy:
        proxy.note(what)
        return proxy.has_noted(what)


def annotations_with_key(lib, uri, key):
    with lib.proxy(uri, "serpent", HmacKey=key) as proxy:
        proxy._pyroBind()
        lib.context.annotations = {"ABCD": b"x" * 300, "EFGH": b""}
        seen, _ = proxy.seen()
        lib.context.annotations = {}
        proxy.answer_with({"RESP": "y" * 300})
        answered = {
            name: bytes(value).decode()
            for name, value in lib.context.response_annotations.items()
            if name not in {"CORR", "HMAC"}
        }
        return [seen, answered]


def change_key(lib, uri, serializer, right, wrong):
    """Sign a later message with another key; then begin anew with the right one."""
    with lib.proxy(uri, serializer, HmacKey=right) as proxy:
        proxy._pyroBind()
        proxy._pyroHmacKey = wrong
        told = outcome(lib, lambda: proxy.add(1))["class"]
        proxy._pyroRelease()
        proxy._pyroHmacKey = right
        return told, proxy.add(1)


def classes_by_pickle(lib, uri, serializer):
    """Both ends can import the class: nothing need be registered."""
    with lib.proxy(uri, serializer) as proxy:
        point = proxy.mirror(Point(1, 2))
        return [type(point).__name__, point.x, point.y, proxy.is_point(Point(0, 0))]


# --- connected sockets ---------------------------------------------------------------------------


_sockets = {}


def connected(lib, fd, object_id, serializer):
    """Make a proxy over a socket that was inherited; the socket stays open."""
    if fd not in _sockets:
        _sockets[fd] = socket.socket(fileno=fd)
    proxy = lib.connected_proxy(object_id, _sockets[fd], serializer)
    return proxy


def over_connected(lib, fd, serializer, name):
    """Do a little of everything over a connected socket."""
    basics = connected(lib, fd, "basics", serializer)
    streams = connected(lib, fd, "streams", serializer)
    contexts = connected(lib, fd, "contexts", serializer)
    found = {
        "calls": [basics.add(1), basics.add(1, b=3), basics.echo([1])],
        "failed": outcome(lib, basics.fail, "ValueError"),
        "unknown": outcome(lib, lambda: basics.missing),
        "stream": list(streams.count(3)),
        "oneway": [basics.note(name), basics.has_noted(name)],
        "size": basics.size("x" * 200_000),
        "text": len(basics.text(200_000)),
        "kind": contexts.address_kind(),
    }
    lib.context.annotations = {"ABCD": b"mine"}
    lib.context.correlation_id = own = uuid.uuid4()
    annotations, seen = contexts.seen()
    lib.forget_context()
    found["context"] = [annotations, seen == str(own)]
    stream = streams.watched(f"{name} closed", 5)
    next(stream)
    stream.close()
    found["closed"] = basics.has_noted(f"{name} closed")
    if serializer != "marshal":
        found["value"] = basics.value
        many = lib.batch(basics)
        many.add(1)
        many.fail("KeyError")
        results = many()
        found["batch"] = [next(results), outcome(lib, next, results)["class"]]
    if serializer not in {"json", "marshal"}:
        blobs = connected(lib, fd, "blobs", serializer)
        found["blob"] = blobs.open(lib.SerializedBlob("info", [1, 2]))
    return found


def after_release(lib, fd, serializer):
    """Release a proxy over a connected socket, and use the socket with another one."""
    proxy = connected(lib, fd, "basics", serializer)
    first = proxy.add(1)
    proxy._pyroRelease()
    del proxy
    return [first, connected(lib, fd, "basics", serializer).add(2)]


def unknown_over_connected(lib, fd, serializer):
    found = outcome(lib, lambda: connected(lib, fd, "nobody", serializer).add(1))
    return [found["class"], found["args"], connected(lib, fd, "basics", serializer).add(2)]


def outcome_over_connected(lib, fd, serializer):
    return outcome(lib, lambda: connected(lib, fd, "basics", serializer).add(1))


def close_connected(lib, fd):
    """Close the socket, so that the other end notices."""
    _sockets.pop(fd).close()
