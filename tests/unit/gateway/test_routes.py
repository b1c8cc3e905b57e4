"""Requests into answers, or into what is to be done: nothing but values."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from pyroipc.gateway.names import ExposedNames
from pyroipc.gateway.origins import Origins
from pyroipc.gateway.requests import Request
from pyroipc.gateway.routes import Call, Home, Meta, Rules, dressed, route

OPEN = Rules(ExposedNames(r"http\."), Origins(""), frozenset(), None, True)
LOCKED = OPEN._replace(key=b"secret")
ID = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


def get(path, query="", method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, query, {"host": "localhost:8080", **named})


def refusal(request, rules=OPEN):
    """Return the status and the body of an answer that needs nothing to be done."""
    response = route(request, rules)
    assert not isinstance(response, Home | Meta | Call)
    return response.status, response.body.decode()


def headers_of(request, rules=OPEN):
    return dict(route(request, rules).headers)


def test_root_leads_to_the_page():
    for path in ("", "/", "//"):
        assert refusal(get(path))[0] == 302
        assert headers_of(get(path))["Location"] == "/pyro/"
    assert headers_of(get("/")._replace(mount="/a b"))["Location"] == "/a%20b/pyro/"
    assert refusal(get("/", method="DELETE"))[0] == 302


@pytest.mark.parametrize("path", ["/pyro", "/x", "/pyrox/a/b", "/pyro/a", "/pyro/a/", "/pyro//"])
def test_not_found(path):
    assert refusal(get(path)) == (404, "Error 404: Not Found")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "get", "", "X" * 1000])
@pytest.mark.parametrize("path", ["/pyro/", "/pyro/http.a/b"])
def test_methods(method, path):
    assert refusal(get(path, method=method)) == (405, "Error 405: Method Not Allowed")
    assert headers_of(get(path, method=method))["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_options():
    for path in ("/", "/pyro/", "/pyro/http.a/b", "/nowhere"):
        assert refusal(get(path, method="OPTIONS"), LOCKED) == (200, "200 OK")
    assert headers_of(get("/pyro/", method="OPTIONS"))["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_head_never_calls():
    assert isinstance(route(get("/pyro/", method="HEAD"), OPEN), Home)
    assert isinstance(route(get("/pyro/http.a/$meta", method="HEAD"), OPEN), Meta)
    assert refusal(get("/pyro/http.a/b", method="HEAD"))[0] == 405
    assert headers_of(get("/pyro/http.a/b", method="HEAD"))["Allow"] == "GET, POST, OPTIONS"


def test_call():
    step = route(get("/pyro/http.a/b", "x=1&y=2&y=3"), OPEN)
    assert step == Call("http.a", "b", {"x": "1", "y": ["2", "3"]}, False, False, step.correlation)
    assert step.correlation.version == 4
    assert step.correlation != route(get("/pyro/http.a/b"), OPEN).correlation


def test_the_member_is_behind_the_last_slash():
    step = route(get("/pyro/http.a/b/c"), OPEN)
    assert (step.name, step.member) == ("http.a/b", "c")
    assert route(get("//pyro/http.a\n/b"), OPEN).name == "http.a\n"


def test_options_of_a_call():
    step = route(
        get(
            "/pyro/http.a/b",
            x_pyro_options="oneway",
            x_pyro_correlation_id=ID,
            accept="application/x-ndjson",
        ),
        OPEN,
    )
    assert step == Call("http.a", "b", {}, True, True, UUID(ID))


def test_meta():
    step = route(get("/pyro/http.a/$meta", "x=1", x_pyro_correlation_id=ID), OPEN)
    assert step == Meta("http.a", UUID(ID))


def test_names_that_are_not_exposed():
    denied = (403, "403 Forbidden - access to the requested object has been denied")
    assert refusal(get("/pyro/other/b")) == denied
    assert refusal(get("/pyro/other/$meta")) == denied
    assert (
        refusal(get("/pyro/http.a\x00/b"), OPEN._replace(names=ExposedNames("http.a"))) == denied
    )


# ---------------------------------------------------------------------------------------- the key


def test_without_the_right_key():
    wrong = (403, "403 Forbidden - incorrect gateway api key")
    for path in ("/pyro/", "/pyro/http.a/b", "/pyro/http.a/$meta", "/pyro/other/b"):
        assert refusal(get(path), LOCKED) == wrong
        assert refusal(get(path, x_pyro_gateway_key="secre"), LOCKED) == wrong
        assert refusal(get(path, "$key=secret", x_pyro_gateway_key="no"), LOCKED) == wrong
        assert refusal(get(path, "$key=secret"), LOCKED._replace(query_key=False)) == wrong


def test_with_the_right_key():
    assert route(get("/pyro/http.a/b", x_pyro_gateway_key="secret"), LOCKED).arguments == {}
    assert route(get("/pyro/http.a/b", "$key=secret&x=1"), LOCKED).arguments == {"x": "1"}
    assert route(get("/pyro/", "$key=secret"), LOCKED) == Home("secret")
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert route(Request("POST", "/pyro/", "", form, b"$key=secret"), LOCKED) == Home("secret")
    assert route(get("/pyro/"), OPEN) == Home("")
    assert route(get("/pyro/", "$key=secret"), OPEN) == Home("")


def test_a_browser_is_asked_for_the_key():
    status, page = refusal(get("/pyro/", accept="text/html,*/*"), LOCKED)
    assert status == 403
    assert '<form method="post" action="/pyro/">' in page
    assert 'name="$key"' in page
    assert "secret" not in page


# ------------------------------------------------------------------------------------------ sites


def test_pages_of_others_call_nothing():
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "http://evil.example"}):
        status, text = refusal(get("/pyro/http.a/b", **headers))
        assert status == 403
        assert "pages of other sites may not call objects here" in text
        assert refusal(get("/pyro/http.a/$meta", **headers))[0] == 403
    rules = OPEN._replace(origins=Origins("http://good.example"))
    assert isinstance(route(get("/pyro/http.a/b", origin="http://good.example"), rules), Call)


def test_names_of_the_gateway():
    rules = OPEN._replace(hosts=frozenset({"localhost"}))
    assert isinstance(route(get("/pyro/"), rules), Home)
    assert isinstance(route(Request("GET", "/pyro/"), rules), Home)  # HTTP/1.0
    for method in ("GET", "OPTIONS"):
        status, text = refusal(get("/pyro/", method=method, host="evil.example:8080"), rules)
        assert (status, "'evil.example:8080'" in text) == (403, True)


def test_headers_of_all_answers():
    request = get("/nowhere")
    headers = dict(dressed(route(request, OPEN), request, OPEN).headers)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    everybody = OPEN._replace(origins=Origins("*"))
    headers = dict(dressed(route(request, everybody), request, everybody).headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert dressed(route(request, OPEN), request._replace(method="HEAD"), OPEN).body == b""


# ----------------------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/pyro/http.a/b", x_pyro_correlation_id="nonsense"), 400),
        (get("/pyro/http.a/b", "x=%FF"), 400),
        (get("/pyro/http.a/b", x_pyro_options="nonsense"), 400),
        (get("/pyro/http.a/b", "x=" + "1" * 70_000), 414),
        (Request("POST", "/pyro/http.a/b", "", {"content-type": "text/plain"}, b"x"), 415),
    ],
)
def test_bad_requests_are_exceptions(request_, status):
    response = route(request_, OPEN)
    assert response.status == status
    told = json.loads(response.body)
    assert told["__class__"] == "builtins.ValueError"
    assert told["__exception__"] is True
    assert len(told["args"]) == 1


def test_errors_say_to_which_request_they_belong():
    for path, query in (("/pyro/http.a/b", "x=%FF"), ("/pyro/other/b", "")):
        request = get(path, query, x_pyro_correlation_id=ID.upper())
        assert headers_of(request)["X-Pyro-Correlation-Id"] == ID
