"""Daemons and proxies as programs for Pyro4 know them, where pyroipc's own behave otherwise."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading

import pytest

import pyroipc
from pyroipc.compat.pyro4 import core, errors, message
from pyroipc.compat.pyro4.configuration import config
from tests.support.snippets import run_python
from tests.support.waiting import wait_until

Daemon, Proxy, URI = core.Daemon, core.Proxy, core.URI

pytestmark = pytest.mark.usefixtures("dialect")


@core.expose
class Thing:
    def __init__(self, name="thing"):
        self.name = name
        self.events = []
        self.may_go_on = threading.Event()

    def own_name(self):
        return self.name

    def same(self, value):
        return value

    @core.oneway
    def slowly(self):
        assert self.may_go_on.wait(10)
        self.events.append("slowly")

    def quickly(self):
        self.events.append("quickly")
        return list(self.events)

    def annotations(self):
        return {
            key: bytes(value).decode()
            for key, value in core.current_context.annotations.items()
            if key == "NOTE"
        }


@contextlib.contextmanager
def serving(daemon):
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    wait_until(lambda: daemon._service is not None, "the loop runs")
    try:
        yield daemon
    finally:
        daemon.shutdown()
        thread.join(10)
        daemon.close()
    assert not thread.is_alive()


@pytest.fixture
def daemon():
    with Daemon() as made:
        yield made


# ---------------------------------------------------------------------- what objects are told


class Slotted:
    __slots__ = ()

    @core.expose
    def method(self):
        return "slotted"


@pytest.mark.parametrize("make", [Thing, Slotted])
def test_a_registered_object_knows_its_id_and_its_daemon(daemon, make):
    thing = make()
    daemon.register(thing, "it")
    assert thing._pyroId == "it"
    assert thing._pyroDaemon is daemon
    daemon.unregister(thing)
    assert not hasattr(thing, "_pyroId")
    assert not hasattr(thing, "_pyroDaemon")


def test_nothing_is_written_to_the_object(daemon):
    thing = Thing()
    before = dict(vars(thing))
    daemon.register(thing)
    assert vars(thing) == before


def test_instances_of_a_registered_class_know_its_daemon(daemon):
    class Made:
        @core.expose
        def method(self):
            pass

    daemon.register(Made, "made")
    assert Made._pyroId == "made"
    assert Made()._pyroDaemon is daemon
    one = Made()
    daemon.register(one, "one")  # which Pyro4 refuses
    assert one._pyroId == "one"


def test_others_of_the_class_know_nothing(daemon):
    daemon.register(Thing())
    assert not hasattr(Thing(), "_pyroDaemon")


def test_a_closed_daemon_is_forgotten():
    thing = Thing()
    with Daemon() as daemon:
        daemon.register(thing)
    assert not hasattr(thing, "_pyroDaemon")


def test_what_the_object_says_itself_counts(daemon):
    thing = Thing()
    thing._pyroDaemon = "mine"
    daemon.register(thing)
    assert thing._pyroDaemon == "mine"


def test_a_builtin_can_be_registered_though_it_exposes_nothing(daemon, caplog):
    daemon.register([1, 2], "list")
    assert "doesn't expose any methods" in caplog.text


def test_the_attributes_travel_by_name_with_a_class():
    from pyroipc.compat.pyro4 import registrations

    for attribute in (registrations._pyroId, registrations._pyroDaemon):
        assert pickle.loads(pickle.dumps(attribute)) is attribute


# --------------------------------------------------------------------------------- the switches


class Unmarked:
    field: int = 3

    def public(self):
        return "public"

    @property
    def attribute(self):
        return "attribute"

    @core.expose
    def marked(self):
        return "marked"

    def _private(self):
        return "private"


def test_without_require_expose_all_that_is_public_is_exposed(daemon):
    config.REQUIRE_EXPOSE = False
    uri = daemon.register(Unmarked())
    config.REQUIRE_EXPOSE = True
    with serving(daemon), Proxy(uri) as proxy:
        assert [proxy.public(), proxy.attribute, proxy.marked()] == [
            "public", "attribute", "marked",
        ]  # fmt: skip
        assert proxy._pyroMethods == {"public", "marked"}
        for name in ("field", "_private"):
            with pytest.raises(AttributeError):
                getattr(proxy, name)


def test_with_require_expose_only_marks_count(daemon):
    uri = daemon.register(Unmarked())
    with serving(daemon), Proxy(uri) as proxy:
        proxy._pyroBind()
        assert proxy._pyroMethods == {"marked"}
        with pytest.raises(AttributeError, match="no exposed attribute or method 'public'"):
            proxy.public()


class Sent:
    def __init__(self):
        self.text = "as a copy"

    @core.expose
    def method(self):
        return "as a proxy"


@core.expose
class Sender:
    def __init__(self, sent):
        self._sent = sent

    def give(self):
        return self._sent


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_without_autoproxy_registered_objects_travel_as_copies(daemon, serializer):
    sent = Sent()
    daemon.register(sent)
    uri = daemon.register(Sender(sent))
    rebuilt = []
    name = f"{Sent.__module__}.Sent"

    def rebuild(classname, data):
        rebuilt.append(data)
        return data["text"]

    core.config.SERIALIZER = serializer
    from pyroipc.compat.pyro4.util import SerializerBase

    SerializerBase.register_dict_to_class(name, rebuild)
    try:
        with serving(daemon), Proxy(uri) as proxy:
            assert proxy.give().method() == "as a proxy"
            config.AUTOPROXY = False
            assert proxy.give() == "as a copy"
    finally:
        SerializerBase.unregister_dict_to_class(name)
    assert [set(data) for data in rebuilt] == [{"__class__", "text"}]
    assert sent.method() == "as a proxy"  # and it is what it was


def test_without_metadata_any_name_is_a_method(daemon):
    config.METADATA = False
    uri = daemon.register(Thing())
    with serving(daemon), Proxy(uri) as proxy:
        assert proxy.own_name() == "thing"
        with pytest.raises(AttributeError):
            proxy.no_such_method()
        proxy.note = "kept here"
        assert proxy.note == "kept here"
        proxy._pyroAsync()
        assert proxy.own_name().value == "thing"
        config.METADATA = True
        with pytest.raises(AttributeError, match="no exposed"):
            proxy.other = 1


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("kind", ["object", "class"])
def test_without_threads_for_oneway_calls_others_wait_for_them(kind, connected):
    config.ONEWAY_THREADED = False
    thing = Thing()
    target = thing
    if kind == "class":

        @core.behavior(instance_mode="single", instance_creator=lambda _cls: thing)
        class Made(Thing):
            pass

        thing.__class__ = Made
        target = Made
    with contextlib.ExitStack() as stack:
        if connected:
            here, there = socket.socketpair()
            stack.callback(there.close)
            stack.callback(here.close)
            daemon = stack.enter_context(serving_with(Daemon(connected_socket=here), target))
            proxy = stack.enter_context(Proxy("thing", connected_socket=there))
        else:
            daemon = stack.enter_context(serving_with(Daemon(), target))
            proxy = stack.enter_context(Proxy(daemon.uriFor("thing")))
        proxy._pyroBind()
        proxy.slowly()
        answer = []
        waiting = threading.Thread(target=lambda: answer.extend(proxy.quickly()))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        thing.may_go_on.set()
        waiting.join(10)
    assert answer == ["slowly", "quickly"]


@contextlib.contextmanager
def serving_with(daemon, target):
    daemon.register(target, "thing")
    with serving(daemon):
        yield daemon


def test_with_threads_for_oneway_calls_nobody_waits(daemon):
    thing = Thing()
    uri = daemon.register(thing)
    with serving(daemon), Proxy(uri) as proxy:
        proxy.slowly()
        assert proxy.quickly() == ["quickly"]
        thing.may_go_on.set()
        wait_until(lambda: thing.events == ["quickly", "slowly"], "the one-way call has run")


# ------------------------------------------------------------------------------------- daemons


def test_what_a_connected_socket_comes_with_is_ignored():
    here, there = socket.socketpair()
    with here, there, Daemon("nowhere", 1, nathost="x", connected_socket=here) as daemon:
        assert daemon.natLocationStr is None
        with pytest.raises(errors.PyroError, match="takes no HMAC key"):
            daemon._pyroHmacKey = b"key"
        daemon._pyroHmacKey = None
        assert daemon._pyroHmacKey is None


def test_a_unix_socket_comes_before_host_and_port(tmp_path):
    with Daemon("localhost", 1, unixsocket=str(tmp_path / "s")) as daemon:
        assert daemon.locationStr == f"./u:{tmp_path}/s"


def test_a_key_can_be_set_until_clients_come(daemon):
    uri = daemon.register(Thing())
    daemon._pyroHmacKey = "open"
    assert daemon._pyroHmacKey == b"open"
    with serving(daemon):
        with Proxy(uri) as proxy:
            proxy._pyroHmacKey = b"open"
            assert proxy.own_name() == "thing"
        with Proxy(uri) as stranger, pytest.raises(errors.PyroError, match="key"):
            stranger.own_name()


@pytest.mark.parametrize(("kind", "args"), [(Daemon, ()), (Proxy, ("PYRO:thing@nowhere:1",))])
def test_a_key_is_none_of_the_class(kind, args, monkeypatch):
    monkeypatch.setattr(kind, "_pyroHmacKey", b"open")
    with pytest.raises(errors.PyroError, match=rf"{kind.__name__}._pyroHmacKey .* HMAC_KEY"):
        kind(*args)


def test_what_pyro_daemon_tells(daemon):
    daemon.register(Thing(), "thing")
    with serving(daemon), Proxy(f"PYRO:Pyro.Daemon@{daemon.locationStr}") as told:
        assert told.registered() == ["Pyro.Daemon", "thing"]
        found = told.get_metadata("thing")
        assert found["oneway"] == {"slowly"}
        assert len(found["attrs"]) == 0
        assert told.get_metadata("thing", as_lists=True)["oneway"] == ["slowly"]
        with pytest.raises(errors.DaemonError):
            told.get_metadata("nothing")


def test_proxies_for_registered_objects_have_the_address(daemon):
    thing = Thing()
    daemon.register(thing, "thing")
    proxy = daemon.proxyFor(thing)
    assert type(proxy) is Proxy
    assert proxy._pyroUri == daemon.uriFor("thing")
    assert "own_name" in proxy._pyroMethods
    with serving(daemon), proxy:
        assert proxy.own_name() == "thing"


def test_requests_are_not_handled_one_by_one(daemon):
    with pytest.raises(errors.PyroError, match="validateHandshake"):
        daemon.handleRequest(None)


def test_repr(daemon):
    assert repr(daemon) == (
        f"<Pyro4.core.Daemon at {id(daemon):#x}; {daemon.locationStr} - IPv4; 1 objects>"
    )


def test_a_copy_of_a_daemon_is_unusable(daemon):
    assert "unusable" in repr(pickle.loads(pickle.dumps(daemon)))


def test_accepting_pickle_over_tcp_is_remarked_upon(caplog):
    config.SERIALIZERS_ACCEPTED = {"pickle", "serpent"}
    with Daemon():
        pass
    assert "SERIALIZERS_ACCEPTED names pickle" in caplog.text
    assert "refused on purpose" in caplog.text


def test_accepted_serializers_are_those_of_the_settings():
    with Daemon() as daemon:
        assert daemon.accepted is None
    config.SERIALIZERS_ACCEPTED = {"json"}
    with Daemon() as daemon:
        assert daemon.accepted == {"json"}
        uri = daemon.register(Thing())
        with serving(daemon), Proxy(uri) as proxy:
            with pytest.raises(errors.PyroError, match="json"):
                proxy.own_name()
            proxy._pyroSerializer = "json"
            assert proxy.own_name() == "thing"


def test_serve_simple_prints_pyro4s_lines_and_returns_at_ctrl_c():
    finished = run_python(
        """
        import os, signal, threading
        from pyroipc.compat import install_as
        install_as("Pyro4")
        import Pyro4

        @Pyro4.expose
        class Thing:
            def __repr__(self):
                return "a thing"

            def method(self):
                pass

        class StoppingDaemon(Pyro4.Daemon):
            def requestLoop(self, loopCondition=lambda: True):
                def once():
                    os.kill(os.getpid(), signal.SIGINT)
                    return True

                super().requestLoop(once)

        daemon = StoppingDaemon(host="127.0.0.1")
        Pyro4.Daemon.serveSimple({Thing(): "thing"}, ns=False, daemon=daemon)
        print("returned")
        """
    )
    lines = finished.stdout.splitlines()
    assert lines[0] == "Object a thing:"
    assert lines[1].startswith("    uri = PYRO:thing@127.0.0.1:")
    assert lines[2:] == ["Pyro daemon running.", "returned"], finished


def test_serve_simple_looks_for_a_name_server_unless_told_otherwise():
    config.NS_PORT = 1
    pyroipc.config.BROADCAST_ADDRS = []
    with pytest.raises(errors.NamingError):
        Daemon.serveSimple({Thing(): "x"})


# ------------------------------------------------------------------------------------- proxies


def test_annotations_go_with_one_call(daemon):
    uri = daemon.register(Thing())
    with serving(daemon), Proxy(uri) as proxy:
        core.current_context.annotations = {"NOTE": b"once"}
        assert proxy.annotations() == {"NOTE": "once"}
        assert proxy.annotations() == {}
        core.current_context.annotations = {"NOTE": b"with a batch"}
        batch = core.batch(proxy)
        batch.annotations()
        assert list(batch()) == [{"NOTE": "with a batch"}]
        assert proxy.annotations() == {}


@pytest.mark.parametrize("flag", [message.FLAGS_ONEWAY, pyroipc.wire.message.ONEWAY])
def test_a_call_can_be_made_oneway_with_either_flag(daemon, flag):
    thing = Thing()
    uri = daemon.register(thing)
    with serving(daemon), Proxy(uri) as proxy:
        assert proxy._pyroInvoke("quickly", (), {}, flags=flag) is None
        wait_until(lambda: thing.events, "the call has run")


def test_flags_of_pyro4s_protocol_do_no_harm(daemon):
    uri = daemon.register(Thing())
    with serving(daemon), Proxy(uri) as proxy:
        flags = message.FLAGS_BATCH | message.FLAGS_KEEPSERIALIZED
        assert proxy._pyroInvoke("same", (1,), {}, flags=flags) == 1


def test_the_serializer_is_the_one_of_the_settings_on_local_channels_too(tmp_path, dialect):
    with Daemon(unixsocket=str(tmp_path / "s")) as daemon:
        seen = []

        class Looking:
            @core.expose
            def look(self):
                seen.append(core.current_context.serializer_id)

        uri = daemon.register(Looking())
        with serving(daemon):
            for name in ("serpent", "json"):
                config.SERIALIZER = name
                with Proxy(uri) as proxy:
                    proxy.look()
    assert seen == {"native": [1, 3], "pyro4": [1, 2]}[dialect]


def test_metadata_are_learned_or_given(daemon):
    daemon.register(Thing(), "thing")
    daemon.register(Sender(None), "sender")
    uri = daemon.uriFor("thing")
    with serving(daemon):
        with Proxy(uri) as proxy:
            proxy._pyroGetMetadata()
            assert "own_name" in proxy._pyroMethods
            proxy._pyroGetMetadata("sender")
            assert proxy._pyroMethods == {"give"}
        other = Proxy(uri)
        other._pyroGetMetadata(known_metadata={"methods": ["a"], "attrs": [], "oneway": []})
        assert other._pyroMethods == {"a"}
        assert "not connected" in repr(other)


def test_what_tells_of_pyro4s_messages_tells_nothing(daemon):
    proxy = Proxy(daemon.register(Thing()))
    assert proxy._pyroSeq == 0
    assert proxy._pyroRawWireResponse is False
    proxy._pyroRawWireResponse = False
    with pytest.raises(errors.PyroError, match="not Pyro4's messages"):
        proxy._pyroRawWireResponse = True


def test_repr_of_a_proxy(daemon):
    uri = daemon.register(Thing(), "thing")
    with serving(daemon), Proxy(uri) as proxy:
        assert repr(proxy) == f"<Pyro4.core.Proxy at {id(proxy):#x}; not connected; for {uri}>"
        proxy.own_name()
        assert repr(proxy) == f"<Pyro4.core.Proxy at {id(proxy):#x}; connected IPv4; for {uri}>"


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_received_proxies_are_of_this_class(daemon, serializer):
    thing = Thing("sent")
    daemon.register(thing)
    uri = daemon.register(Sender(thing))
    config.SERIALIZER = serializer
    with serving(daemon), Proxy(uri) as proxy, proxy.give() as received:
        assert type(received) is Proxy
        assert received.own_name() == "sent"


def test_a_proxy_that_is_sent_is_one_of_this_class_with_its_handshake(daemon, dialect):
    uri = daemon.register(Thing())
    elsewhere = Proxy("PYRO:else@where:1")
    elsewhere._pyroHandshake = "mine"
    elsewhere._pyroSerializer = "json"
    with serving(daemon), Proxy(uri) as proxy:
        back = proxy.same(elsewhere)
    assert isinstance(back, Proxy)
    assert back == elsewhere
    if dialect == "pyro4":
        assert type(back) is Proxy
        assert (back._pyroHandshake, back._pyroSerializer) == ("mine", "json")


def test_every_proxy_and_uri_of_the_library_is_an_instance():
    assert isinstance(pyroipc.Proxy("PYRO:a@b:1"), Proxy)
    assert isinstance(pyroipc.URI("PYRO:a@b:1"), URI)
    assert not isinstance("PYRO:a@b:1", URI)
    assert not isinstance("PYRO:a@b:1", Proxy)

    class Own(Proxy):
        pass

    assert not isinstance(pyroipc.Proxy("PYRO:a@b:1"), Own)
    assert isinstance(Own("PYRO:a@b:1"), Own)
    assert isinstance(Own("PYRO:a@b:1"), Proxy)


def test_a_uri_is_one_of_the_library_with_the_port_of_the_settings():
    config.NS_PORT = 1234
    uri = URI("PYRONAME:x@host")
    assert type(uri) is pyroipc.URI
    assert uri.port == 1234
    assert uri.asString() == str(uri) == "PYRONAME:x@host:1234"

    class Own(URI):
        pass

    assert type(Own("PYRONAME:x@host")) is Own
    assert Own("PYRONAME:x@host").port == 1234


def test_a_proxy_keeps_its_short_way(daemon):
    """A plain call goes the way of pyroipc's own proxies."""
    from pyroipc.client.methods import OnewayMethod, RemoteMethod, SpecialMethod

    class Watching(Proxy):
        def _pyroInvoke(self, *args, **kwargs):
            return super()._pyroInvoke(*args, **kwargs)

    uri = daemon.register(Thing())
    with serving(daemon), Proxy(uri) as proxy, Watching(uri) as watching:
        assert type(proxy.own_name) is RemoteMethod
        assert type(proxy.slowly) is OnewayMethod
        assert type(watching.own_name) is SpecialMethod
        assert proxy.own_name.__self__ is not proxy  # so that the proxy can go when it is let go
