"""URIs as programs for Pyro know them."""

from __future__ import annotations

import copy
import pickle

import pytest

import pyroipc
from pyroipc.compat.pyro5.core import URI


def test_they_are_those_of_pyroipc():
    uri = URI("PYRO:thing@host:1")
    plain = pyroipc.URI("PYRO:thing@host:1")
    assert isinstance(uri, pyroipc.URI)
    assert isinstance(plain, URI)
    assert not isinstance("PYRO:thing@host:1", URI)
    assert (uri, hash(uri)) == (plain, hash(plain))
    assert URI(plain) == pyroipc.URI(uri) == uri
    assert str(uri) == "PYRO:thing@host:1"
    assert repr(uri) == f"<Pyro5.core.URI at {id(uri):#x}; PYRO:thing@host:1>"


def test_the_usual_port_is_that_of_the_settings(monkeypatch):
    assert URI("PYRONAME:thing@host").port == 9090
    monkeypatch.setattr(pyroipc.config, "NS_PORT", 1234)
    assert URI("PYRONAME:thing@host").port == 1234
    assert URI("PYRONAME:thing@host:5").port == 5


@pytest.mark.parametrize("text", ["PYRO:a@b:1", "PYRO:a@./u:x", "PYRONAME:n", "PYROMETA:a,b@h:1"])
def test_copies(text):
    uri = URI(text)
    for twin in (copy.copy(uri), copy.deepcopy(uri), pickle.loads(pickle.dumps(uri))):
        assert twin == uri
        assert type(twin) is URI


def test_what_is_none():
    with pytest.raises(pyroipc.PyroError, match="invalid uri"):
        URI("thing")
    with pytest.raises(TypeError, match="wrong type"):
        URI(5)
