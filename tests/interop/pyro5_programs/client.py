"""A client as users of Pyro5 write them. It prints what works, and complains of what does not.

python client.py URI [serializer]
"""

import sys
import threading
import uuid

import Pyro5.api
import Pyro5.errors
from Pyro5.api import BatchProxy, Proxy, SerializedBlob, current_context, expose
from shop import Article


def calls(shop):
    assert shop.add(1) == [11, (), {}] or shop.add(1) == [11, [], {}]
    assert shop.add(1, 2)[0] == 3
    assert shop.add(1, b=5)[0] == 6
    assert list(shop.add(1, 2, 3, 4)[1]) == [3, 4]
    assert shop.add(1, x="ü")[2] == {"x": "ü"}
    assert shop.same({"a": [1, 2.5, None, True]}) == {"a": [1, 2.5, None, True]}


def attributes(shop):
    assert shop.label == "open"
    shop.label = "closed"
    assert shop.label == "closed"
    shop.label = "open"
    for what in (lambda: shop.secret, lambda: shop.nothing, lambda: shop._label):
        try:
            what()
        except AttributeError:
            continue
        raise AssertionError("it should not be there")
    try:
        shop.nothing = 1
    except AttributeError:
        pass
    else:
        raise AssertionError("it should not be assigned")
    assert "add" in dir(shop)


def oneways(shop):
    assert shop.note("first") is None
    assert "first" in shop.take_notes()


def exceptions(shop):
    try:
        shop.divide(1, 0)
    except ZeroDivisionError as error:
        assert "divide" in "".join(Pyro5.errors.get_pyro_traceback())
        assert any("ZeroDivisionError" in line for line in error._pyroTraceback)
    else:
        raise AssertionError("no error")
    try:
        shop.sell("umbrella")
    except ValueError as error:
        assert error.args == ("no such article", "umbrella")
        assert error.shelf == 7
    else:
        raise AssertionError("no error")
    assert shop.add(1)[0] == 11  # the connection is as good as before
    try:
        shop.search("umbrella")
    except Pyro5.errors.PyroError:  # nothing here knows its class
        pass
    else:
        raise AssertionError("no error")
    assert shop.add(1)[0] == 11


def streams(shop):
    assert list(shop.count(5)) == [0, 1, 2, 3, 4]
    items = shop.count(1000)
    assert next(items) == 0
    items.close()


def batches(shop):
    batch = BatchProxy(shop)
    batch.add(1, 1)
    batch.same("x")
    batch.divide(1, 0)
    batch.same("never")
    results = batch()
    assert next(results)[0] == 2
    assert next(results) == "x"
    try:
        next(results)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("no error")
    batch = BatchProxy(shop)
    batch.note("in a batch")
    assert batch(oneway=True) is None
    assert "in a batch" in shop.take_notes()


def classes(shop):
    assert shop.raise_price(Article("tea", 3)) == Article("tea", 4)


def blobs(shop):
    assert shop.weigh(SerializedBlob("letter", [1, 2, 3])) == ["letter", 3]


def autoproxies(shop):
    account = shop.open_account("me")
    assert isinstance(account, Proxy)
    assert account._pyroUri.location == shop._pyroUri.location
    with Proxy(str(account._pyroUri)) as other:  # an address, which can be handed on
        assert other.balance == 0
    with account:
        account.balance = 5
        assert account.balance == 5
        assert account.close() == 5
    assert shop.same(shop)._pyroUri.object == "shop"


def annotations(shop):
    current_context.annotations = {"GOTO": b"the method"}
    current_context.correlation_id = uuid.UUID(int=99)
    goto, correlation = shop.annotated()
    assert goto == "the method"
    assert correlation == str(uuid.UUID(int=99))
    back = {key: bytes(value) for key, value in current_context.response_annotations.items()}
    assert back["BACK"] == b"from the method"
    assert back["SHOP"] == b"corner shop"
    current_context.annotations = {}
    current_context.correlation_id = None


class Customer:
    @expose
    def told(self, number):
        return number * 2

    @expose
    def broken(self):
        raise ValueError("the customer is tired")


def callbacks(shop):
    with Pyro5.api.Daemon() as daemon:
        customer = Customer()
        daemon.register(customer)
        loop = threading.Thread(target=daemon.requestLoop)
        loop.start()
        assert shop.call_back(customer, 3) == [0, 2, 4]
        assert "the customer is tired" in shop.call_back_in_vain(customer)
        daemon.shutdown()
        loop.join(10)
        assert not loop.is_alive()


def instances(shop):
    location = shop._pyroUri.location
    with Proxy(f"PYRO:basket@{location}") as one, Proxy(f"PYRO:basket@{location}") as other:
        assert one.put("apple") == 1
        assert one.put("pear") == 2
        assert other.put("plum") == 1
        assert len(one) == 2
        assert one[1] == "pear"
        assert list(one) == ["apple", "pear"]
    with Proxy(f"PYRO:ticket@{location}") as ticket:
        assert ticket.stamp() == ["made", 1]
        assert ticket.stamp() == ["made", 1]


def handshakes(shop):
    class Careful(Proxy):
        def _pyroValidateHandshake(self, response):
            assert list(response) == ["welcome", {"name": "me"}]
            seen.append(response)

    seen = []
    with Careful(shop._pyroUri) as proxy:
        proxy._pyroHandshake = {"name": "me"}
        assert proxy.same(1) == 1
        assert len(seen) == 1
    with Proxy(shop._pyroUri) as proxy:
        proxy._pyroHandshake = "a thief"
        try:
            proxy._pyroBind()
        except Pyro5.errors.CommunicationError as error:
            assert "rejected" in str(error)
            assert "we know you" in str(error)
        else:
            raise AssertionError("no error")


def daemons(shop):
    with Proxy(f"PYRO:{Pyro5.core.DAEMON_NAME}@{shop._pyroUri.location}") as daemon:
        assert {"shop", "basket", "Pyro.Daemon"} <= set(daemon.registered())
        daemon.ping()
        assert daemon.info().startswith("Pyro.Daemon bound on ")


def proxies(shop):
    import copy

    assert shop.same(shop._pyroUri) == shop._pyroUri
    assert copy.copy(shop) == shop
    assert hash(copy.copy(shop)) == hash(shop)
    assert str(shop._pyroUri).startswith("PYRO:shop@")
    with copy.copy(shop) as other:
        other._pyroTimeout = 20
        other._pyroMaxRetries = 1
        assert other.same(2) == 2
        other._pyroReconnect(2)
        assert other.same(3) == 3
        other._pyroRelease()
        assert other._pyroConnection is None
        other._pyroBind()
        assert other._pyroConnection is not None

    def elsewhere():
        shop._pyroClaimOwnership()
        results.append(shop.same(4))

    results = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert results == [4]
    shop._pyroClaimOwnership()


def names(ns):
    uri = ns.lookup("interop.shop")
    assert isinstance(uri, Pyro5.api.URI)
    assert uri.object == "shop"
    _, tags = ns.lookup("interop.shop", return_metadata=True)
    assert set(tags) == {"kind:shop", "town"}
    assert set(ns.list(prefix="interop.")) == {"interop.shop", "interop.basket"}
    assert set(ns.yplookup(meta_all={"town", "kind:shop"})) == {"interop.shop"}
    assert set(ns.yplookup(meta_any=["town"])) == {"interop.shop", "interop.basket"}
    assert "Pyro.NameServer" in ns.list()
    ns.register("interop.other", "PYRO:x@localhost:1")
    ns.set_metadata("interop.other", {"a"})
    try:
        ns.register("interop.other", "PYRO:y@localhost:1", safe=True)
    except Pyro5.errors.NamingError:
        pass
    else:
        raise AssertionError("no error")
    assert ns.remove("interop.other") == 1
    try:
        ns.lookup("interop.other")
    except Pyro5.errors.NamingError:
        pass
    else:
        raise AssertionError("no error")
    for text in ("PYRONAME:interop.shop", "PYROMETA:kind:shop"):
        assert Pyro5.api.resolve(text).object == "shop"
        with Proxy(text) as shop:
            assert shop.same("by name") == "by name"


def main():
    uri, *rest = sys.argv[1:]
    if uri == "names":
        with Pyro5.api.locate_ns() as ns:
            names(ns)
        print("names", flush=True)
        return
    if rest:
        Pyro5.api.config.SERIALIZER = rest[0]
    checks = [
        calls, oneways, exceptions, streams, classes, annotations, instances, handshakes, daemons,
        proxies,
    ]  # fmt: skip
    if rest != ["marshal"]:  # with which Pyro5 cannot do these
        checks += [attributes, batches, autoproxies, callbacks]
    if rest != ["json"]:
        checks += [blobs]
    with Proxy(uri) as shop:
        for check in checks:
            check(shop)
            print(check.__name__, flush=True)


if __name__ == "__main__":
    main()
