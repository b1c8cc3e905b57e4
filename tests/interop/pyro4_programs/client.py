"""A client as users of Pyro4 write them. It prints what works, and complains of what does not.

python client.py URI [serializer] | names | key KEY URI | hook URI
"""

import copy
import sys
import threading
import uuid

import Pyro4
import Pyro4.constants
import Pyro4.core
import Pyro4.errors
import Pyro4.futures
import Pyro4.util
from garden import Plant


def calls(garden):
    assert garden.add(1) == [6, []]
    assert garden.add(1, 2) == [3, []]
    assert garden.add(1, b=3) == [4, []]
    assert garden.add(1, 2, 3, 4, x="ü") == [10, ["x"]]
    assert garden.same({"a": [1, 2.5, None, True, "ü"]}) == {"a": [1, 2.5, None, True, "ü"]}
    assert "Proxy" in repr(garden)
    assert "connected" in repr(garden)


def attributes(garden):
    garden.weather = "rainy"
    assert garden.weather == "rainy"
    garden.weather = "sunny"
    assert not hasattr(garden, "secret")
    assert not hasattr(garden, "_weather")
    try:
        _ = garden.nothing
    except AttributeError as error:
        assert "has no exposed attribute or method 'nothing'" in str(error)
    else:
        raise AssertionError("no error")
    try:
        garden.nothing = 1
    except AttributeError as error:
        assert "has no exposed attribute" in str(error)
    else:
        raise AssertionError("no error")


def oneways(garden):
    assert garden.water(3) is None
    assert garden.diary()[-1] == 3


def batches(garden):
    batch = Pyro4.batch(garden)
    batch.add(1, 1)
    batch.same("x")
    batch.divide(1, 0)
    batch.same("never")
    results = batch()
    assert next(results) == [2, []]
    assert next(results) == "x"
    try:
        next(results)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("no error")
    batch = garden._pyroBatch()
    batch.water(9)
    assert batch(oneway=True) is None
    assert garden.diary()[-1] == 9
    batch.same(4)
    later = batch(asynchronous=True)
    assert isinstance(later, Pyro4.futures.FutureResult)
    assert list(later.value) == [4]


def asynchronous(garden):
    other = copy.copy(garden)
    Pyro4.asyncproxy(other)
    later = other.add(20, 1)
    later.then(lambda value: value[0] * 2).then(lambda value, more: value + more, more=1)
    assert later.value == 43
    assert later.ready
    wrong = other.divide(1, 0)
    try:
        _ = wrong.value
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("no error")
    assert other.same(1).wait(10)
    other._pyroAsync(False)
    assert other.same(1) == 1
    other._pyroRelease()


def futures(garden):
    task = Pyro4.Future(garden.add)
    task.then(lambda value: value[0] + 100)
    seen = []
    failing = Pyro4.Future(garden.divide)
    failing.iferror(seen.append)
    result = failing(1, 0)
    assert task(1, b=1).value == 102
    assert result.wait(10)
    assert [type(error) for error in seen] == [ZeroDivisionError]
    cancelled = Pyro4.Future(garden.add)
    assert cancelled.delay(60)
    assert cancelled.cancel()


def exceptions(garden):
    try:
        garden.divide(1, 0)
    except ZeroDivisionError as error:
        text = "".join(Pyro4.util.getPyroTraceback())
        assert "This exception occured remotely (Pyro) - Remote traceback:" in text
        assert "in divide" in text
        assert any("ZeroDivisionError" in line for line in error._pyroTraceback)
    else:
        raise AssertionError("no error")
    try:
        garden.harvest("pears")
    except LookupError as error:
        assert error.args == ("nothing ripe", "pears")
        assert error.month == 9
    else:
        raise AssertionError("no error")
    try:
        garden.refuse()
    except Pyro4.errors.DaemonError as error:
        assert str(error) == "closed for the winter"
    else:
        raise AssertionError("no error")
    assert garden.same(1) == 1


def streams(garden):
    assert list(garden.rows(5)) == [0, 1, 2, 3, 4]
    assert list(garden.squares(4)) == [0, 1, 4, 9]
    rows = garden.rows(1000)
    assert next(rows) == 0
    rows.close()


def classes(garden):
    assert garden.grow(Plant("fern", 30), 5) == Plant("fern", 35)


def blobs(garden):
    blob = Pyro4.core.SerializedBlob("seeds", [1, 2, 3, 4])
    assert garden.weigh(blob) == ["seeds", 4]


def autoproxies(garden):
    bed = garden.new_bed(3)
    assert isinstance(bed, Pyro4.Proxy)
    bed.size = 8
    assert bed.size == 8
    assert bed.plant("mint") == 1
    name, uri = bed.identity()
    assert uri.startswith(f"PYRO:{name}@")
    assert bed.leave() == ["mint"]
    bed._pyroRelease()


class TalkingProxy(Pyro4.Proxy):
    def __init__(self, uri):
        super().__init__(uri)
        self.__dict__["heard"] = []

    def _pyroAnnotations(self):
        return {"HAND": b"from the proxy"}

    def _pyroResponseAnnotations(self, annotations, msgtype):
        self.__dict__["heard"].append(({k: bytes(v) for k, v in annotations.items()}, msgtype))


def annotations(garden):
    with TalkingProxy(garden._pyroUri) as proxy:
        proxy._pyroHandshake = "hello"
        proxy._pyroSerializer = garden._pyroSerializer
        proxy._pyroBind()
        Pyro4.current_context.annotations = {"NOTE": b"from the context"}
        Pyro4.current_context.correlation_id = uuid.UUID(int=77)
        own, correlation, has_address = proxy.what_came()
        assert own == {"HAND": "from the proxy", "NOTE": "from the context"}
        assert correlation == str(uuid.UUID(int=77))
        assert has_address
        back = {k: bytes(v) for k, v in Pyro4.current_context.response_annotations.items()}
        assert back["BACK"] == b"with a rose"
        assert back["GATE"] == b"green"
        assert any(heard.get("BACK") == b"with a rose" for heard, _ in proxy.__dict__["heard"])
        assert proxy.what_came()[0] == {"HAND": "from the proxy"}  # one call spends them
        Pyro4.current_context.correlation_id = None
    assert garden.same(1) == 1


class Neighbour:
    @Pyro4.expose
    def told(self, number):
        return number * 2

    @Pyro4.expose
    def shout(self):
        raise ValueError("it is late")


def callbacks(garden):
    with Pyro4.Daemon() as daemon:
        neighbour = Neighbour()
        daemon.register(neighbour)
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        assert garden.ask_back(neighbour, 3) == [0, 2, 4]
        assert "it is late" in garden.ask_in_vain(neighbour)
        daemon.shutdown()
        loop.join(10)
        assert not loop.is_alive()


def instances(garden):
    where = garden._pyroUri.location
    with Pyro4.Proxy("PYRO:basket@" + where) as one, Pyro4.Proxy("PYRO:basket@" + where) as other:
        assert [one.put("plum"), one.put("pear"), other.put("fig")] == [1, 2, 1]
        one._pyroRelease()
        assert one.put("apple") == 1
    with Pyro4.Proxy("PYRO:cup@" + where) as cup:
        assert [cup.sip(), cup.sip()] == [["fresh", 1], ["fresh", 1]]


class CarefulProxy(Pyro4.Proxy):
    def _pyroValidateHandshake(self, response):
        seen.append(response)


seen = []


def handshakes(garden):
    with CarefulProxy(garden._pyroUri) as proxy:
        proxy._pyroHandshake = {"name": "me"}
        assert proxy.same(1) == 1
        assert list(seen.pop()) == ["welcome", {"name": "me"}]
    with Pyro4.Proxy(garden._pyroUri) as proxy:
        proxy._pyroHandshake = "a mole"
        try:
            proxy._pyroBind()
        except Pyro4.errors.CommunicationError as error:
            assert "rejected" in str(error)
            assert "moles stay outside" in str(error)
        else:
            raise AssertionError("no error")


def daemons(garden):
    where = garden._pyroUri.location
    with Pyro4.Proxy(f"PYRO:{Pyro4.constants.DAEMON_NAME}@{where}") as daemon:
        assert {"garden", "basket", "Pyro.Daemon"} <= set(daemon.registered())
        daemon.ping()
        assert daemon.info().startswith("Pyro.Daemon bound on ")
        found = daemon.get_metadata("garden")
        assert "add" in found["methods"]
        assert set(found["attrs"]) == {"weather"}
        assert set(found["oneway"]) == {"water"}


def proxies(garden):
    assert copy.copy(garden) == garden
    assert hash(copy.copy(garden)) == hash(garden)
    uri = garden._pyroUri
    assert uri.asString() == str(uri)
    assert Pyro4.URI(uri) == uri
    assert isinstance(uri, Pyro4.URI)
    with copy.copy(garden) as other:
        other._pyroTimeout = 20
        other._pyroMaxRetries = 1
        assert other.same(2) == 2
        other._pyroReconnect(1)
        assert other.same(3) == 3
    assert {"add", "weather"} <= set(dir(garden))
    garden._pyroOneway.add("same")
    assert garden.same(1) is None
    garden._pyroOneway.discard("same")
    assert garden.same(1) == 1


FEATURES = [
    calls, attributes, oneways, batches, asynchronous, futures, exceptions, streams, classes,
    blobs, autoproxies, annotations, callbacks, instances, handshakes, daemons, proxies,
]  # fmt: skip
# What Pyro4 itself cannot do with a format, by the format.
BEYOND = {
    "marshal": {attributes, batches, autoproxies, callbacks},
    "json": {blobs},
    "pickle": set(),
}


def try_all(uri, serializer):
    Pyro4.config.SERIALIZER = serializer
    with Pyro4.Proxy(uri) as garden:
        for feature in FEATURES:
            if feature not in BEYOND.get(serializer, ()):
                feature(garden)
                print(feature.__name__, flush=True)


def try_names():
    garden = Pyro4.Proxy("PYRONAME:interop.garden")
    with garden:
        assert garden.same(1) == 1
        assert garden._pyroUri.protocol in {"PYRONAME", "PYRO"}
    with Pyro4.locateNS() as ns:
        uri, tags = ns.lookup("interop.garden", return_metadata=True)
        assert isinstance(uri, Pyro4.URI)
        assert "town" in tags
        assert isinstance(tags, list)
        assert ns.lookup("interop.garden") == uri
        assert set(ns.list(prefix="interop.")) == {"interop.garden", "interop.basket"}
        assert set(ns.list(regex=r".*\.basket")) == {"interop.basket"}
        assert set(ns.list(metadata_all=["town", "small"])) == {"interop.basket"}
        found = ns.list(metadata_any={"small", "none"}, return_metadata=True)
        assert sorted(found["interop.basket"][1]) == ["small", "town"]
        assert ns.list("interop.g") == {"interop.garden": str(uri)}
        change_names(ns)
    with Pyro4.Proxy("PYROMETA:town,small") as basket:
        assert basket.put("nut") == 1
    resolved = Pyro4.resolve("PYRONAME:interop.garden")
    assert resolved == uri
    with Pyro4.Proxy("PYRONAME:Pyro.NameServer") as ns:
        assert "interop.basket" in ns.list(metadata_all={"small"})
    print("names", flush=True)


def change_names(ns):
    try:
        ns.list(prefix="x", metadata_any=["y"])
    except ValueError:
        pass
    else:
        raise AssertionError("no error")
    count = ns.count()
    ns.register("interop.more", "PYRO:more@nowhere:1", safe=True, metadata=["new"])
    try:
        ns.register("interop.more", "PYRO:other@nowhere:1", safe=True)
    except Pyro4.errors.NamingError:
        pass
    else:
        raise AssertionError("no error")
    ns.set_metadata("interop.more", ["newer"])
    assert list(ns.list(metadata_all=["newer"])) == ["interop.more"]
    assert ns.remove("interop.more") == 1
    assert ns.remove("Pyro.NameServer") == 0
    assert ns.count() == count
    ns.ping()


def main():
    what, *rest = sys.argv[1:]
    if what == "names":
        try_names()
    elif what == "key":
        key, uri = rest
        with Pyro4.Proxy(uri) as garden:
            garden._pyroHmacKey = key
            assert garden._pyroHmacKey == key.encode()
            print(garden.same("sesame"), flush=True)
    elif what == "hook":
        sys.excepthook = Pyro4.util.excepthook
        Pyro4.Proxy(rest[0]).divide(1, 0)
    else:
        try_all(what, *(rest or ["serpent"]))


if __name__ == "__main__":
    main()
