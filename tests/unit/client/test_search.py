"""Where a name server is looked for."""

from __future__ import annotations

import pytest

from pyroipc.client import search
from pyroipc.client.search import Search
from pyroipc.errors import CommunicationError, NamingError
from tests.support.daemons import settings

DEADLINE = 1000.0


class Tried:
    """A proxy that only notes where it would connect; those with port 9999 answer."""

    def __init__(self, uri, **options):
        self.location = uri.location
        self.is_there = self.location.endswith((":9999", "there"))
        self._pyroTimeout = None
        self.timeout = None

    def _pyroBind(self):
        self.timeout = self._pyroTimeout
        tried.append(self)
        if not self.is_there:
            raise CommunicationError("nobody is there")

    def _pyroRelease(self):
        pass


tried: list[Tried] = []


@pytest.fixture(autouse=True)
def _nothing_tried(monkeypatch):
    tried.clear()
    monkeypatch.setattr(search, "_is_own_name", lambda: False)


def places(text, port=None, **changes):
    with pytest.raises(NamingError, match="failed to locate the name server"):
        Search(Tried, settings(NS_HOST=text, BROADCAST_ADDRS=[], **changes)).anywhere(port)
    return [proxy.location for proxy in tried]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", ["localhost:9090"]),
        ("::1", ["[::1]:9090"]),
        ("[::1]", ["[::1]:9090"]),
        ("[::1]:7", ["[::1]:7"]),
        ("./u:/run/ns.sock", ["./u:/run/ns.sock"]),
        ("a:1,b", ["a:1", "b:9090"]),
        (" a , 192.0.2.1:7 ,./u:ns,::1", ["a:9090", "192.0.2.1:7", "./u:ns", "[::1]:9090"]),
    ],
)
def test_places(text, expected):
    assert places(text) == expected


def test_a_port_of_its_own_counts_more():
    assert places("a,b:7", NS_PORT=1000) == ["a:1000", "b:7"]
    tried.clear()
    assert places("a,b:7", 2000) == ["a:2000", "b:7"]


def test_the_name_of_this_machine(monkeypatch):
    monkeypatch.setattr(search, "_is_own_name", lambda: True)
    assert places("127.0.0.1:7,other") == ["127.0.0.1:7", "127.0.1.1:7", "other:9090"]


@pytest.mark.parametrize("text", [",", "a,", "a,b c", "a:0", "a:b", "[::1", "a:1:2", "./u:"])
def test_what_is_no_place(text):
    with pytest.raises(NamingError, match="no name server can be at"):
        Search(Tried, settings(NS_HOST=text, BROADCAST_ADDRS=[])).anywhere()
    assert not tried


def test_the_first_that_answers_is_taken():
    there = settings(NS_HOST="a, ./u:there, b:9999")
    found = Search(Tried, there).anywhere()
    assert found.location == "./u:there"
    assert [proxy.location for proxy in tried] == ["a:9090", "./u:there"]


def test_each_place_has_its_share_of_the_time(monkeypatch):
    monkeypatch.setattr(search, "monotonic", lambda: DEADLINE - 6)
    several = settings(NS_HOST="a,b,c:9999")
    found = Search(Tried, several, DEADLINE).anywhere()
    assert [proxy.timeout for proxy in tried] == [2, 3, 6]
    assert found._pyroTimeout is None
