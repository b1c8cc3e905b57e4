"""``Pyro4.config``: a view on the settings of pyroipc, under Pyro4's names and with its values."""

from __future__ import annotations

import pickle

import pytest

import pyroipc
from pyroipc.compat.pyro4.configuration import Configuration, config
from pyroipc.errors import PyroError
from tests.support.snippets import run_python


def test_what_is_set_here_is_set_there_and_the_other_way_round():
    config.COMMTIMEOUT = 7
    assert pyroipc.config.COMMTIMEOUT == 7.0
    pyroipc.config.MAX_RETRIES = 3
    assert config.MAX_RETRIES == 3


@pytest.mark.parametrize("given", [None, "2000"])
def test_importing_it_sets_only_what_nobody_has_set(given):
    found = run_python(
        """
        import pyroipc
        from pyroipc.compat.pyro4.configuration import config
        print(pyroipc.config.changed(), pyroipc.config.source("MAX_MESSAGE_SIZE"))
        print(pyroipc.config.source("DIALECT"))
        """,
        environment={} if given is None else {"PYRO_MAX_MESSAGE_SIZE": given},
    )
    source = "assigned" if given is None else "environment PYRO_MAX_MESSAGE_SIZE"
    changed = f"{{'MAX_MESSAGE_SIZE': {given or 1 << 30}, 'DIALECT': 'pyro4'}}"
    assert found.stdout.splitlines() == [f"{changed} {source}", "default"]


@pytest.mark.parametrize("name", ["NO_SUCH_ITEM", "HMAC_KEY", "LOCAL_SERIALIZER"])
def test_there_is_no_other_item(name):
    with pytest.raises(AttributeError, match=name):
        setattr(config, name, 1)
    with pytest.raises(AttributeError, match=name):
        getattr(config, name)


def test_broadcast_addresses_are_one_text():
    assert config.BROADCAST_ADDRS == "<broadcast>, 0.0.0.0"
    config.BROADCAST_ADDRS = "10.0.0.255, ''"
    assert pyroipc.config.BROADCAST_ADDRS == ["10.0.0.255", ""]


def test_addresses_are_parsed():
    assert config.parseAddressesString("a, b ,'',c") == ["a", "b", "", "c"]


def test_no_limit_means_as_large_as_a_message_of_pyro4_can_be():
    config.MAX_MESSAGE_SIZE = 0
    assert pyroipc.config.MAX_MESSAGE_SIZE == 2**31 - 1
    assert config.MAX_MESSAGE_SIZE == 0
    config.MAX_MESSAGE_SIZE = 1000
    assert pyroipc.config.MAX_MESSAGE_SIZE == config.MAX_MESSAGE_SIZE == 1000


@pytest.mark.parametrize(
    ("name", "given", "there"),
    [
        ("COMPRESSION", 1, True),
        ("SOCK_REUSE", 0, False),
        ("COMMTIMEOUT", None, 0.0),
        ("NATPORT", None, 0),
        ("SSL_SERVERCERT", None, ""),
    ],
)
def test_what_pyro4_takes_is_taken(name, given, there):
    setattr(config, name, given)
    assert getattr(pyroipc.config, name) == there


# ------------------------------------------------------------------------- SERIALIZERS_ACCEPTED


def shown():
    return config.SERIALIZERS_ACCEPTED


def test_accepted_serializers_are_those_that_anybody_may_use_until_somebody_sets_them():
    assert shown() == {"serpent", "msgpack", "json"}
    assert isinstance(config.SERIALIZERS_ACCEPTED, set)
    assert config.accepted() is None
    assert pyroipc.config.SERIALIZERS_ACCEPTED == []


def test_what_is_changed_in_the_set_is_set():
    config.SERIALIZERS_ACCEPTED.add("pickle")
    assert config.accepted() == ("json", "msgpack", "pickle", "serpent")
    config.SERIALIZERS_ACCEPTED.discard("msgpack")
    config.SERIALIZERS_ACCEPTED.remove("marshal")  # which Pyro4 has by default
    config.SERIALIZERS_ACCEPTED.remove("json")
    config.SERIALIZERS_ACCEPTED -= {"serpent"}
    assert config.accepted() == ("pickle",)
    config.SERIALIZERS_ACCEPTED.update(["json", "msgpack"])
    assert pyroipc.config.SERIALIZERS_ACCEPTED == ["json", "msgpack", "pickle"]


def test_an_empty_set_is_not_the_default():
    config.SERIALIZERS_ACCEPTED.clear()
    assert shown() == set()
    assert config.accepted() == ()
    config.SERIALIZERS_ACCEPTED.add("json")
    assert shown() == {"json"}


def test_any_collection_is_taken():
    for given in ({"json"}, ["json"], ("json",), "json"):
        config.SERIALIZERS_ACCEPTED = given
        assert shown() == {"json"}


def test_the_set_is_shown_and_pickled_as_a_plain_one():
    config.SERIALIZERS_ACCEPTED = {"json", "serpent"}
    assert repr(config.SERIALIZERS_ACCEPTED) == "{'json', 'serpent'}"
    copied = pickle.loads(pickle.dumps(config.SERIALIZERS_ACCEPTED))
    assert type(copied) is set
    assert copied == {"json", "serpent"}


# ---------------------------------------------------------------------------------- own and idle


@pytest.mark.parametrize("name", ["AUTOPROXY", "METADATA", "ONEWAY_THREADED", "REQUIRE_EXPOSE"])
def test_switches_of_this_package_are_kept_here(name):
    assert getattr(config, name) is True
    setattr(config, name, 0)
    assert getattr(config, name) is False
    assert not hasattr(pyroipc.config, name)


def test_a_switch_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("PYRO_FLAME_ENABLED", "Yes")
    monkeypatch.setenv("PYRO_AUTOPROXY", "off")
    config.reset()
    assert config.FLAME_ENABLED is True
    assert config.AUTOPROXY is False
    config.reset(useenvironment=False)
    assert config.FLAME_ENABLED is False
    monkeypatch.setenv("PYRO_METADATA", "perhaps")
    with pytest.raises(ValueError, match="PYRO_METADATA=perhaps"):
        config.reset()


def test_a_bad_variable_is_refused(monkeypatch):
    monkeypatch.setenv("PYRO_NS_PORT", "nine")
    with pytest.raises(PyroError, match="PYRO_NS_PORT"):
        config.reset()


def test_idle_items_take_what_they_are_given_and_say_so_once(caplog):
    config.JSON_MODULE = "simplejson"
    config.JSON_MODULE = "ujson"
    assert config.JSON_MODULE == "ujson"
    assert [record.getMessage() for record in caplog.records] == [
        "the item JSON_MODULE = 'simplejson' has no effect here: it is always Python's own"
    ]


# ------------------------------------------------------------------------------------- as a whole


def test_reset_gives_the_defaults():
    config.COMPRESSION = True
    config.REQUIRE_EXPOSE = False
    config.SERIALIZERS_ACCEPTED = {"json"}
    config.reset()
    assert config.COMPRESSION is False
    assert config.REQUIRE_EXPOSE is True
    assert config.accepted() is None


def test_as_dict_has_all_items():
    found = config.asDict()
    assert found["NS_PORT"] == 9090
    assert found["SERIALIZERS_ACCEPTED"] == {"serpent", "msgpack", "json"}
    assert len(found) == len(Configuration.ITEMS)


def test_dump_is_pyro4s_text_without_secrets():
    config.SSL_SERVERKEYPASSWD = "xyzzy"
    lines = config.dump().splitlines()
    assert lines[0] == "Pyro version: 4.82"
    assert lines[1].startswith("Loaded from: ")
    assert lines[3:5] == ["Protocol version: 48", "Currently active configuration settings:"]
    assert "SSL_SERVERKEYPASSWD = ***" in lines
    assert "NATHOST = None" in lines
    assert lines[5:] == sorted(lines[5:])


def test_another_configuration_has_values_of_its_own():
    other = Configuration()
    other.NS_PORT = 1234
    other.METADATA = False
    assert config.NS_PORT == 9090
    assert config.METADATA is True
