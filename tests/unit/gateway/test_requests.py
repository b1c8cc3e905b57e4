"""What a request says: arguments, key, options, ids."""

from __future__ import annotations

from uuid import UUID

import pytest

from pyroipc.gateway.requests import (
    BadRequestError,
    Request,
    accepts,
    arguments_of,
    correlation_of,
    key_of,
    options_of,
)

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"content-type": "Application/JSON"}


def get(query):
    return Request("GET", "/", query)


def post(body, headers=FORM, query=""):
    return Request("POST", "/", query, headers, body)


@pytest.mark.parametrize(
    ("request_", "arguments"),
    [
        (get(""), {}),
        (get("a=1&b=two%20words&c=%C3%A4+b"), {"a": "1", "b": "two words", "c": "ä b"}),
        (get("a=1&a=2&a=1"), {"a": ["1", "2", "1"]}),
        (get("a=&b&c=x"), {"c": "x"}),
        (get("$key=secret&a=1"), {"a": "1"}),
        (post(b"a=1&b=%C3%A4"), {"a": "1", "b": "ä"}),
        (post(b"a=1", query="a=2&b=3"), {"a": ["2", "1"], "b": "3"}),
        (post(b"$key=secret"), {}),
        (post(b"", {}), {}),
        (post(b"", JSON), {}),
        (post(b'{"a": [1, 2.5, null, {"b": true}], "$x": ""}', JSON),
         {"a": [1, 2.5, None, {"b": True}], "$x": ""}),
        (post(b'{"a": 1}', JSON, "b=2&$key=x"), {"a": 1, "b": "2"}),
        (Request("GET", "/", "a=1", FORM, b"b=2"), {"a": "1"}),  # only a POST has a body
    ],
)  # fmt: skip
def test_arguments(request_, arguments):
    assert arguments_of(request_) == arguments


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (get("a=%FF"), 400, "the query cannot be read: UnicodeDecodeError"),
        (get("&".join(f"a{i}=1" for i in range(1001))), 400, "the query cannot be read"),
        (get("a=" + "x" * 70_000), 414, "use a POST"),
        (post("a=ä".encode()), 400, "written as %XX"),
        (post(b"a=%FF"), 400, "the form cannot be read"),
        (post(b"x", {}), 415, r"type '\(none\)' cannot be read; send application/json or"),
        (post(b"x", {"content-type": "multipart/form-data; boundary=x"}), 415, "multipart"),
        (post(b"{", JSON), 400, "the body is no JSON"),
        (post(b"[1]", JSON), 400, "must be a JSON object.*it is a list"),
        (post(b"null", JSON), 400, "it is a NoneType"),
        (post(b'{"a": NaN}', JSON), 400, "there is no NaN in JSON"),
        (post(b'{"a": -Infinity}', JSON), 400, "there is no -Infinity in JSON"),
        (post(b"\xff", JSON), 400, "the body is no JSON"),
        (post(b'{"a":' + b"[" * 100_000, JSON), 400, "nested too deep"),
        (post(b'{"a": 1' + b"0" * 5000 + b"}", JSON), 400, "no JSON: Exceeds the limit"),
        (post(b'{"a": 1}', JSON, "a=2"), 400, "'a' is both in the query and in the body"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_read(request_, status, text):
    with pytest.raises(BadRequestError, match=text) as caught:
        arguments_of(request_)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("request_", "key", "without_query"),
    [
        (get(""), None, None),
        (get("$key=a"), b"a", None),
        (get("%24key=%C3%A4"), "ä".encode(), None),
        (get("a=%FF&$key=a"), None, None),
        (post(b"$key=b", query="$key=a"), b"b", b"b"),
        (post(b"x=1", query="$key=a"), b"a", None),
        (post(b'{"$key": "b"}', JSON), None, None),
        (Request("GET", "/", "$key=a", {"x-pyro-gateway-key": " c "}), b"c", b"c"),
        (Request("GET", "/", "$key=a", {"x-pyro-gateway-key": ""}), b"", b""),
        (Request("GET", "/", "", {"x-pyro-gateway-key": "\xc3\xa4"}), "ä".encode(), "ä".encode()),
    ],
)
def test_key(request_, key, without_query):
    assert key_of(request_, query_key=True) == key
    assert key_of(request_, query_key=False) == without_query


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (None, set()),
        ("", set()),
        (" , ", set()),
        ("oneway", {"oneway"}),
        (" OneWay ,", {"oneway"}),
    ],
)
def test_options(text, options):
    headers = {} if text is None else {"x-pyro-options": text}
    assert options_of(Request("GET", "/", headers=headers)) == options


def test_unknown_option():
    with pytest.raises(BadRequestError, match="no option 'twoway', only 'oneway'"):
        options_of(Request("GET", "/", headers={"x-pyro-options": "oneway,twoway"}))


def test_correlation_id():
    def of(text):
        return correlation_of(Request("GET", "/", headers={"x-pyro-correlation-id": text}))

    text = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    assert correlation_of(get("")) is None
    assert of("") is None
    assert of(f" {text.upper()} ") == of(f"urn:uuid:{text}") == UUID(text)
    for bad in ("nonsense", text + "0", "x" * 10_000, "\r\nX: y"):
        with pytest.raises(BadRequestError, match="is no UUID such as") as caught:
            of(bad)
        assert caught.value.status == 400
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("application/x-ndjson", True),
        ("text/html, Application/X-NDJSON;q=0.9, */*", True),
        ("application/x-ndjson-seq", False),
    ],
)
def test_accepts(text, expected):
    headers = {} if text is None else {"accept": text}
    assert accepts(Request("GET", "/", headers=headers), "application/x-ndjson") is expected
