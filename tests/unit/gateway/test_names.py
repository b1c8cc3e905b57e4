"""Which names a pattern exposes."""

from __future__ import annotations

import pytest

from pyroipc.gateway.names import ExposedNames


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (r"http\.shop", ["http.shop"], ["http.shop-a", "http.shop.x", "xhttp.shop", "httpxshop"]),
        (r"http\.", ["http.", "http.shop", "http.a.b", "http.\n"], ["http", "https.x", "xhttp.x"]),
        (r"^http\.", ["http.shop"], ["x.http.shop"]),
        (r"Pyro\.|test\.", ["Pyro.NameServer", "test.x"], ["Pyro", "x", "pyro.x", "atest.x"]),
        (r"test\.|shop", ["test.x", "shop"], ["shops", "shop.x"]),
        (r"(?:a|b)\.", ["a.x", "b.y"], ["c.x", "a"]),
        (r"(a\.|b)", ["a.", "b"], ["a.x", "bx"]),  # alternatives in a group: the whole name
        (r"http\.[a-z.]+", ["http.a", "http.a.b"], ["http.a.B", "http.", "http.a b"]),
        (r"http[.]", ["http.x"], ["httpx"]),
        (r"http.", ["httpx", "http."], ["http.x"]),  # any character, and not a dot
        (r"a\\.", ["a\\x"], ["a\\.x"]),  # a backslash and any character
        (r"a[|]b", ["a|b"], ["a", "b"]),
        (r"a\|b", ["a|b"], ["a", "b"]),
        (r"[]|]", ["]", "|"], [""]),
        (r"(?i)http\.|X", ["HTTP.shop", "x"], ["y"]),
        (r".*", ["anything", "Pyro.NameServer"], ["a\nb"]),
        ("", ["anything", "", "a\nb"], []),
        ("a|", ["a", ""], ["b"]),
        ("näme\\.", ["näme.x"], ["name.x"]),
    ],
)  # fmt: skip
def test_pattern(pattern, inside, outside):
    names = ExposedNames(pattern)
    assert [name for name in inside if name not in names] == []
    assert [name for name in outside if name in names] == []


@pytest.mark.parametrize(
    "pattern", ["(", "a)", "*", "[", r"a\.|(", r"(?#()a|b\.", "a{99999999999999}", "(?x)a"]
)
def test_what_is_no_pattern(pattern):
    with pytest.raises(ValueError, match="is no regular expression"):
        ExposedNames(pattern)


@pytest.mark.parametrize("pattern", [None, b"http", 1])
def test_patterns_are_text(pattern):
    with pytest.raises(TypeError, match="the pattern of names is a str, not"):
        ExposedNames(pattern)


def test_longer_names_than_there_are_match_nothing():
    names = ExposedNames("")
    assert "x" * 1024 in names
    assert "x" * 1025 not in names
    assert "ä" * 600 not in names
    assert "\ud800" in names  # nothing that a client sends is an error
