"""What a name server takes, and what it says about the rest."""

from __future__ import annotations

import pytest

from pyroipc import URI
from pyroipc.errors import NamingError
from pyroipc.naming import names
from pyroipc.naming.names import Limits

LIMITS = Limits()


def test_good_values():
    assert names.checked_name("ü" * 512, LIMITS) == "ü" * 512
    assert names.checked_uri("pyro:x@h:1", LIMITS) == URI("PYRO:x@h:1")
    assert names.checked_uri(URI("PYRONAME:x"), LIMITS) == URI("PYRONAME:x")
    assert names.checked_metadata(None, LIMITS) == frozenset()
    assert names.checked_metadata(["a", "a", "b"], LIMITS) == {"a", "b"}
    assert names.checked_ttl(None) is None
    assert names.checked_ttl(2) == 2.0
    assert names.is_reserved("Pyro.x")
    assert not names.is_reserved("Pyrox")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (7, TypeError, "name must be a str, not int"),
        ("", NamingError, "the name is empty"),
        ("a" * 1025, NamingError, "at most 1024 bytes, not 1025"),
        ("ü" * 513, NamingError, "at most 1024 bytes, not 1026"),
        ("a\ud800", NamingError, r"'a\\ud800' cannot be written in UTF-8"),
        ("a\nb", NamingError, "control characters"),
    ],
)
def test_wrong_names(value, error, text):
    with pytest.raises(error, match=text):
        names.checked_name(value, LIMITS)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (7, TypeError, "only URIs or strings can be registered"),
        ("nonsense", NamingError, "invalid uri"),
        ("PYRO:x@<connected-socket>", NamingError, "only the process at the other end"),
        ("PYRO:x@h:1" + "0" * 2000, NamingError, "at most 1024 bytes"),
    ],
)
def test_wrong_uris(value, error, text):
    with pytest.raises(error, match=text):
        names.checked_uri(value, LIMITS)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("tag", TypeError, "metadata should not be a str"),
        (7, TypeError, "a list or set of texts, not int"),
        ([7], TypeError, "metadata are texts, not int: 7"),
        ([""], NamingError, "the metadata tag is empty"),
        (["a" * 257], NamingError, "at most 256 bytes"),
        ([str(n) for n in range(65)], NamingError, "at most 64 metadata tags, not 65"),
    ],
)
def test_wrong_metadata(value, error, text):
    with pytest.raises(error, match=text):
        names.checked_metadata(value, LIMITS)


@pytest.mark.parametrize("value", [0, 0.9, -1, 1e9, float("nan"), float("inf")])
def test_wrong_lease_times(value):
    with pytest.raises(NamingError, match="a ttl is from 1 to"):
        names.checked_ttl(value)


@pytest.mark.parametrize("value", ["1", True, [1]])
def test_lease_times_are_numbers(value):
    with pytest.raises(TypeError, match="ttl is a number of seconds"):
        names.checked_ttl(value)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("PYRO:x@localhost:1", "which every machine takes for itself"),
        ("PYRO:x@127.0.0.1:1", "every machine"),
        ("PYRO:x@[::1]:1", "every machine"),
        ("PYRO:x@0.0.0.0:1", "which means all addresses"),
        ("PYRO:x@./u:/tmp/x", "at a unix socket"),
    ],
)
def test_advice(uri, text):
    assert text in names.advice_on("x", URI(uri).address)


def test_no_advice():
    assert names.advice_on("x", URI("PYRO:x@192.0.2.1:1").address) is None
    assert names.advice_on("x", URI("PYRO:x@example.com:1").address) is None
    assert names.advice_on("x", URI("PYRONAME:x").address) is None
