"""The home page: nothing on it is taken for more than text."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from pyroipc.gateway.names import ExposedNames
from pyroipc.gateway.page import Shown, asking_for_key, home_page

EVIL = """<script>alert("1")</script>'&amp;$key${base}"""


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.open = []
        self.texts = {"script": "", "style": ""}
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]] += data
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def made(*shown, pattern="", **options):
    names = ExposedNames(pattern)
    page, policy = home_page(shown, names, **{"total": len(shown), "version": "1.2.3", **options})
    return Reader(page), policy


def test_objects():
    page, _ = made(Shown("http.a", ["add", "sub"], ["size"]), Shown("b", problem="it is gone"))
    assert page.all("title") == [{}]
    assert "Pyro HTTP gateway" in page.text
    buttons = [one for one in page.all("button") if "data-member" in one]
    assert [(one["data-object"], one["data-member"]) for one in buttons] == [
        ("http.a", "add"),
        ("http.a", "sub"),
    ]
    links = [one["href"] for one in page.all("a")]
    assert links[:3] == ["/pyro/http.a/$meta", "/pyro/http.a/size", "/pyro/b/$meta"]
    assert "it is gone" in page.text
    assert "pyroipc 1.2.3" in page.text
    assert "There is none." in made()[0].text


def test_everything_is_escaped():
    page, _ = made(
        Shown(EVIL, [EVIL], [EVIL]),
        Shown("x", problem=EVIL),
        pattern=f".*|{re.escape(EVIL)}",
        version=EVIL,
        key=EVIL,
        mount="/" + EVIL,
    )
    plain, _ = made(Shown("a", ["b"], ["c"]), Shown("x", problem="y"), pattern=".*")
    assert [tag for tag, _ in page.tags if tag != "code"] == [
        tag for tag, _ in plain.tags if tag != "code"
    ]
    assert page.all("body")[0]["data-key"] == EVIL
    assert page.text.count(EVIL) >= 5
    button = next(one for one in page.all("button") if "data-member" in one)
    assert button["data-object"] == button["data-member"] == EVIL
    assert all("<" not in (one["href"] or "") for one in page.all("a") if EVIL not in one["href"])


def test_the_policy_allows_this_script_and_nothing_else():
    page, policy = made(Shown("a"))
    for kind in ("script", "style"):
        digest = b64encode(sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not [one for _, one in page.tags for name in one if name.startswith("on")]
    assert not [one for _, one in page.tags if "style" in one or "src" in one]


def test_which_names():
    page, _ = made(Shown("a"), pattern=r"http\.<", total=37)
    assert r"The first 1 of 37 names that are exposed by http\.<." in page.text
    assert "All names that the name server knows." in made(Shown("a"))[0].text


def test_examples_are_those_that_are_exposed():
    text = made(pattern=r"http\.")[0].text
    assert "To try it" not in text
    page, _ = made(pattern=r"Pyro\.|test\.")
    links = {one["href"] for one in page.all("a")}
    assert links == {
        "/pyro/Pyro.NameServer/$meta",
        "/pyro/Pyro.NameServer/list",
        "/pyro/Pyro.NameServer/list?prefix=test.",
        "/pyro/Pyro.NameServer/lookup?name=Pyro.NameServer",
        "/pyro/test.echoserver/error",
        "/pyro/test.echoserver/echo?message=hello",
    }
    assert "echoserver" not in made(pattern=r"Pyro\.")[0].text


def test_names_in_addresses():
    page, _ = made(Shown("a b/c?d#e%f\ud800", ["x"], ["y z"]), mount="/sub")
    assert page.all("a")[1]["href"] == "/sub/pyro/a%20b/c%3Fd%23e%25f%3F/y%20z"


def test_asking_for_the_key():
    text, policy = asking_for_key('/"><script>')
    page = Reader(text)
    assert page.all("form") == [{"method": "post", "action": '/"><script>/pyro/'}]
    assert "script" not in [tag for tag, _ in page.tags]
    assert "script-src" not in policy
    assert "form-action 'self'" in policy
    assert page.all("input")[0]["name"] == "$key"
