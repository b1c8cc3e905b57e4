"""The home page of the gateway, and a page of another site, in a real browser."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import pyroipc
from tests.support.browser import browser, needs_browser
from tests.support.gateways import gateway_for
from tests.support.snippets import ROOT
from tests.support.waiting import wait_until

pytestmark = [needs_browser, pytest.mark.slow]

EVIL = "http.<img src=x onerror=document.title='evil'>"


@pyroipc.expose
class Shop:
    def __init__(self):
        self._items = []

    def add(self, item, count=1):
        self._items.append((item, count))
        return {"items": self._items, "large": 2**60}

    def fail(self):
        raise ValueError("<b>no</b>")

    @property
    def size(self):
        return len(self._items)


@pytest.fixture(scope="module")
def window():
    with browser() as found:
        yield found


@pytest.fixture
def page(window):
    """A window that nobody has looked into yet."""
    window.open("about:blank")
    window.complaints()
    return window


def test_calls_on_the_page(page):
    shop = Shop()
    with gateway_for({"http.shop": shop}, ns_regex=r"http\.|Pyro\.") as served:
        with served.names.locate() as ns:
            ns.register(EVIL, served.served.uri("http.shop"))
        page.open(served.url)
        assert page.run("return document.title") == "Pyro HTTP gateway"
        assert EVIL in page.text("table")
        page.click("button[data-object='http.shop'][data-member=add]")
        page.type("textarea", '{"item": "<i>tea</i>", "count": 2}')
        page.click("button[type=submit]")
        page.wait_for("#status", "200 OK, correlation id ")
        assert "POST /pyro/http.shop/add" in page.text("#request")
        assert '"<i>tea</i>"' in page.text("#response")
        assert str(2**60) in page.text("#response")
        assert shop._items == [("<i>tea</i>", 2)]
        page.click("a[href='/pyro/http.shop/size']")
        page.wait_for("#response", "1")
        assert page.text("#request") == "GET /pyro/http.shop/size"
        page.click("button[data-object='http.shop'][data-member=fail]")
        page.run("document.querySelector('textarea').value = ''")
        page.click("button[type=submit]")
        page.wait_for("#status", "500 Internal Server Error")
        assert '"<b>no</b>"' in page.text("#response")
        page.click("a[href='/pyro/Pyro.NameServer/list']")
        page.wait_for("#response", "PYRO:http.shop@")
        assert page.run("return document.title") == "Pyro HTTP gateway"
        assert [
            one for one in page.complaints() if "favicon" not in one and "500" not in one
        ] == []


def test_the_key_is_asked_for_and_used(page):
    with gateway_for({"http.shop": Shop()}, gateway_key="gehäim &<>") as served:
        page.open(served.url)
        assert "incorrect gateway api key" in page.text()
        page.type("input[type=password]", "wrong")
        page.click("button[type=submit]")
        page.wait_for("body", "incorrect gateway api key")
        page.type("input[type=password]", "gehäim &<>")
        page.click("button[type=submit]")
        page.wait_for("h2", "Objects")
        assert page.url == served.url
        page.click("a[href='/pyro/http.shop/size']")
        page.wait_for("#status", "200 OK")
        page.open(f"{served.url}?$key=geh%C3%A4im%20%26%3C%3E")
        assert page.url == served.url  # the key is not in the history
        page.click("a[href='/pyro/http.shop/size']")
        page.wait_for("#status", "200 OK")


@contextlib.contextmanager
def site(text, host="127.0.0.1"):
    """Serve a page at another port; yield its origin."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 0.3  # browsers open connections that they may not need

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ATTACK = """<!DOCTYPE html><title>evil</title><p>attack</p>
<img src="{url}http.shop/add?item=img">
<script src="{url}http.shop/add?item=script"></script>
<iframe src="{url}http.shop/add?item=iframe"></iframe>
<iframe name=target></iframe>
<form method=post target=target action="{url}http.shop/add"><input name=item value=form></form>
<script>
document.forms[0].submit();
const body = JSON.stringify({{item: "json"}});
const ways = [
  {{}}, {{mode: "no-cors"}}, {{method: "POST", mode: "no-cors", body: "item=post",
    headers: {{"Content-Type": "application/x-www-form-urlencoded"}}}},
  {{method: "POST", mode: "no-cors", body}},
  {{method: "POST", body, headers: {{"Content-Type": "application/json"}}}},
];
const query = way => way.headers ? "" : "?item=fetch";
Promise.allSettled(ways.map(way => fetch("{url}http.shop/add" + query(way), way)))
  .then(() => document.querySelector("p").textContent = "attacked");
</script>"""


def test_a_hostile_page_calls_nothing(page):
    shop = Shop()
    with gateway_for({"http.shop": shop}) as served, site(ATTACK.format(url=served.url)) as origin:
        served.gateway.cors = "*"  # so that it is seen that the attacks are ones
        page.open(origin)
        page.wait_for("p", "attacked")
        ways = ["fetch", "form", "iframe", "img", "json", "post", "script"]
        wait_until(lambda: sorted({item for item, _ in shop._items}) == ways, "all have come")
        shop._items.clear()
        served.gateway.cors = ""
        page.open(f"{origin}/again")
        page.wait_for("p", "attacked")
        page.open(served.url)  # the page of the gateway itself still can
        page.click("a[href='/pyro/http.shop/size']")
        page.wait_for("#status", "200 OK")
        assert page.text("#response") == "0"
        assert shop._items == []


def test_the_page_of_the_examples(page):
    """A page of another site that was let in calls, and reads the answer."""
    text = (ROOT / "examples/http/page.html").read_text(encoding="utf-8")
    with gateway_for({"http.shop": Shop()}) as served, site(text) as origin:
        served.gateway.cors = origin
        page.open(f"{origin}/?gateway={served.url}&path=http.shop/add")
        page.run("document.querySelector('textarea').value = arguments[0]", '{"item": "tea"}')
        page.click("button")
        page.wait_for("output", '"tea"')
        assert page.complaints() == [] or "favicon" in page.complaints()[0]
