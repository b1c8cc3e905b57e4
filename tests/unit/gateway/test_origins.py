"""Whose pages may call."""

from __future__ import annotations

import pytest

from pyroipc.gateway.origins import Origins, host_name, hosts_of
from pyroipc.gateway.requests import Request

SHOP = "https://shop.example"
OURS = {"host": "localhost:8080"}


def is_foreign(cors="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Origins(cors).is_foreign(Request("GET", "/", headers={**OURS, **named}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},  # the user has typed the address
        {"origin": "http://localhost:8080"},
        {"origin": "HTTP://LOCALHOST:8080", "host": "LocalHost:8080"},
        {"referer": "http://localhost:8080/pyro/"},
        {"sec_fetch_site": "same-origin", "origin": "http://localhost:8080"},
        {"cors": SHOP, "origin": SHOP, "sec_fetch_site": "cross-site"},
        {"cors": SHOP, "referer": SHOP + "/page?x=1"},
        {"cors": "*", "origin": "null", "sec_fetch_site": "cross-site"},
        {"cors": "*", "sec_fetch_site": "cross-site"},
        {"cors": "null", "origin": "null"},
    ],
    ids=str,
)
def test_may_call(headers):
    assert not is_foreign(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},  # another port of this machine
        {"sec_fetch_site": "CROSS-SITE"},
        {"sec_fetch_site": "nonsense"},
        {"origin": SHOP},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:8081"},
        {"origin": "http://localhost:8080.evil.example"},
        {"origin": "localhost:8080"},
        {"origin": "file://localhost:8080"},
        {"referer": SHOP + "/"},
        {"referer": "http://localhost:8080@evil.example/"},
        {"referer": "http://["},
        {"referer": "about:blank"},
        # What a browser says about the site counts more than what the page may have chosen.
        {"sec_fetch_site": "cross-site", "referer": "http://localhost:8080/"},
        {"sec_fetch_site": "cross-site", "origin": "http://localhost:8080"},
        {"cors": SHOP, "origin": "https://shop.example.evil", "sec_fetch_site": "cross-site"},
        {"cors": SHOP, "origin": "http://shop.example"},
        {"cors": SHOP, "sec_fetch_site": "cross-site"},  # it does not say which
        {"cors": SHOP, "origin": "null"},
    ],
    ids=str,
)
def test_may_not_call(headers):
    assert is_foreign(**headers)


def headers_for(cors, origin=None):
    given = {} if origin is None else {"origin": origin}
    return dict(Origins(cors).headers(Request("GET", "/", headers=given)))


def test_headers():
    assert headers_for("") == {}
    assert headers_for("", SHOP) == {}
    assert headers_for(SHOP, "https://other.example") == {"Vary": "Origin"}
    assert headers_for(SHOP) == {"Vary": "Origin"}
    allowed = headers_for(f"http://a.example, {SHOP}/", SHOP)
    assert allowed["Access-Control-Allow-Origin"] == SHOP
    assert allowed["Vary"] == "Origin"
    assert allowed["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert "X-Pyro-Gateway-Key" in allowed["Access-Control-Allow-Headers"]
    assert allowed["Access-Control-Expose-Headers"] == "X-Pyro-Correlation-Id"
    assert headers_for("*")["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in headers_for("*", SHOP)


@pytest.mark.parametrize(
    "text",
    ["shop.example", "https://", "https://a/b", "ftp://a", "*,https://a", "https://a?b", "x"],
)
def test_what_is_no_origin(text):
    with pytest.raises(ValueError, match="is no origin; write"):
        Origins(text)


def test_types():
    with pytest.raises(TypeError, match="cors is a text, not NoneType"):
        Origins(None)
    with pytest.raises(TypeError, match="hosts are several names"):
        hosts_of("localhost")
    with pytest.raises(TypeError, match="is a str, not bytes"):
        hosts_of([b"localhost"])


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8080", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8080", "::1"),
        ("::1", "::1"),
        ("", ""),
        ("evil.example:8080", "evil.example"),
    ],
)
def test_host_name(header, name):
    assert host_name(header) == name
    assert hosts_of([header]) == {name}
