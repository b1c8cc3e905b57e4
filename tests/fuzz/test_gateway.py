"""Hostile HTTP requests: an answer that is defined, and nothing else; nothing takes long.

Quick by default; ``PYROIPC_FUZZ_ROUNDS=1000000`` runs as many rounds, ``PYROIPC_FUZZ_SEED``
chooses others.
"""

from __future__ import annotations

import json
import os
import random
import socket
from time import perf_counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyroipc
from pyroipc.gateway.names import ExposedNames
from pyroipc.gateway.origins import Origins
from pyroipc.gateway.requests import Request
from pyroipc.gateway.responses import Response
from pyroipc.gateway.routes import Call, Home, Meta, Rules, dressed, route
from tests.support.gateways import gateway_for
from tests.support.searching import examples

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PYROIPC_FUZZ_ROUNDS", "3000"))
SEED = int(os.environ.get("PYROIPC_FUZZ_SEED", "1"))
TOO_LONG_SECONDS = 2.0

# -------------------------------------------------------------------------------- the pure routes

OF_ROUTES = {200, 302, 400, 403, 404, 405, 413, 414, 415}
odd_text = st.text(st.characters(codec=None), max_size=40)
pieces = st.sampled_from([
    "/", "//", "pyro", "http.a", "other", "$meta", "..", "%2f", "?", "_pyroUri", "__class__", "\0",
    "\r\nX: y", "ä", "\ud800", "x" * 2000,
])  # fmt: skip
paths = st.one_of(
    odd_text, st.lists(pieces, max_size=6).map("".join), st.just("/pyro/http.a/method")
)
queries = st.one_of(
    odd_text,
    st.lists(
        st.sampled_from(["a=1", "&", "=", "%FF", "%", "$key=k", "a=", ";", "+", "&" * 2000]),
        max_size=6,
    ).map("".join),
)  # fmt: skip
names = st.sampled_from([
    "host", "origin", "referer", "sec-fetch-site", "content-type", "accept", "x-pyro-options",
    "x-pyro-gateway-key", "x-pyro-correlation-id", "content-length", "x-anything",
])  # fmt: skip
values = st.one_of(
    odd_text,
    st.sampled_from([
        "localhost:8080", "http://localhost:8080", "null", "http://[", "https://a@b:c/", "oneway",
        "application/json", "application/x-www-form-urlencoded; charset=utf-8", "same-origin",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "k", "\r\nX: y", "x" * 5000, "text/html", "[::1",
        "application/x-ndjson",
    ]),
)  # fmt: skip
bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"{", b"{}", b"[1]", b'{"a": 1}', b'{"a": NaN}', b"[" * 5000, b"a=1&a=2", b"$key=k",
        b'{"a":' * 5000, b"1" * 5000, b"\xff", b'"\\ud800"', b"null", b'{"a": 1, "a": 2}',
    ]),
)  # fmt: skip
requests = st.builds(
    Request,
    method=st.one_of(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", ""]), odd_text),
    path=paths,
    query=queries,
    headers=st.dictionaries(names, values, max_size=6),
    body=bodies,
    mount=st.sampled_from(["", "/api", "/%C3%A4"]),
)
rules = st.builds(
    Rules,
    names=st.sampled_from([r"http\.", "", r"(http|test)\.", "http.a"]).map(ExposedNames),
    origins=st.sampled_from(["", "*", "https://a.example, null"]).map(Origins),
    hosts=st.sampled_from([frozenset(), frozenset({"localhost", "::1"})]),
    key=st.sampled_from([None, b"k", "ä".encode()]),
    query_key=st.booleans(),
)


def is_header(value):
    return value.isascii() and "\r" not in value and "\n" not in value


@examples(max(500, ROUNDS // 10))
@given(requests, rules)
def test_routes(request, rules):
    step = route(request, rules)
    if isinstance(step, Response):
        assert step.status in OF_ROUTES
        assert dict(step.headers)["Content-Length"] == str(len(step.body))
        if step.status in {400, 413, 414, 415}:
            assert json.loads(step.body)["__exception__"] is True
        response = step
    else:
        may_be = rules.key is None or request.headers or request.query or request.body
        assert may_be
        if isinstance(step, Home):
            assert request.method in {"GET", "POST", "HEAD"}
        else:
            assert step.name in rules.names
            assert isinstance(step.correlation, UUID)
        if isinstance(step, Call):
            assert request.method in {"GET", "POST"}
            assert step.member
            assert all(type(name) is str for name in step.arguments)
        assert isinstance(step, Home | Meta | Call)
        response = Response(200, [])
    made = dressed(response, request, rules)
    assert all(
        is_header(value) for name, value in made.headers if name != "Access-Control-Allow-Origin"
    )
    allowed = dict(made.headers).get("Access-Control-Allow-Origin")
    assert allowed in {None, "*", "null"} or allowed.lower() == "https://a.example"


@examples(200)
@given(odd_text, odd_text)
def test_patterns(pattern, name):
    try:
        exposed = ExposedNames(pattern)
    except ValueError:
        return
    assert (name in exposed) in {True, False}


# ----------------------------------------------------------------------------------- over sockets

DEFINED = {
    200, 302, 400, 403, 404, 405, 406, 408, 411, 413, 414, 415, 431, 500, 501, 502, 503, 504, 505,
}  # fmt: skip
SEEDS = [
    b"GET /pyro/http.echo/echo?x=1&y=%C3%A4 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
    b"POST /pyro/http.echo/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 28\r\n\r\n{"x": [1, {"y": null}, 2.5]}',
    b"POST /pyro/http.echo/echo HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 7\r\n\r\nx=1&y=2",
    b"GET /pyro/http.echo/items?n=3 HTTP/1.1\r\nAccept: application/x-ndjson\r\n\r\n",
    b"GET /pyro/http.echo/$meta HTTP/1.1\r\nX-Pyro-Gateway-Key: key\r\nOrigin: http://a\r\n\r\n",
    b"GET /pyro/http.echo/echo?x=1&$key=key HTTP/1.1\r\nX-Pyro-Options: oneway\r\n"
    b"X-Pyro-Correlation-Id: f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\n\r\n",
    b"OPTIONS /pyro/http.echo/echo HTTP/1.1\r\nOrigin: http://a\r\nSec-Fetch-Site: none\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
]


@pyroipc.expose
class Echo:
    def echo(self, x=None, y=None):
        return [x, y]

    def items(self, n=1):
        yield from range(min(int(n), 10))


def mutate(chance):
    """Make one hostile request."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        where = chance.randrange(len(data))
        kind = chance.random()
        if kind < 0.4:
            data[where] = chance.randrange(256)
        elif kind < 0.55:
            del data[where : where + chance.randint(1, 20)]
        elif kind < 0.7:
            data[where:where] = chance.randbytes(chance.randint(1, 10))
        elif kind < 0.85:
            data[where:where] = chance.choice((
                b"\r\n",
                b"%",
                b"%00",
                b"//",
                b": ",
                b"\0",
                b"9" * 30,
            ))
        else:
            data[where:where] = bytes(data[: chance.randint(0, len(data))])
        if not data:
            return b"\n"
    return bytes(data)


@pytest.mark.timeout(0 if ROUNDS > 100_000 else 60)
def test_mutated_requests():
    chance = random.Random(SEED)
    seen = {}
    limits = {"header_seconds": 5.0, "body_seconds": 5.0}
    with gateway_for({"http.echo": Echo()}, server=limits) as served:
        for _ in range(ROUNDS):
            data = mutate(chance)
            start = perf_counter()
            answer = exchange(served, data)
            assert perf_counter() - start < TOO_LONG_SECONDS, data
            status = check(data, answer)
            seen[status] = seen.get(status, 0) + 1
        assert served.get("http.echo/echo?x=1").json == ["1", None]
    assert {200, 302, 400, 403, 404} <= set(seen)


def exchange(served, data):
    with socket.create_connection((served.host, served.port), timeout=10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)  # whatever it has said, there is no more to come
        pieces = []
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def check(data, answer):
    """Return the status of an answer, after a look at it."""
    assert answer.startswith(b"HTTP/1.0 "), (data, answer)
    status = int(answer[9:12])
    assert status in DEFINED, (data, answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    if status == 500:  # of the method, and of nothing else
        assert json.loads(body)["__class__"] in {"builtins.TypeError", "builtins.ValueError"}, data
        assert b"takes" in body or b"argument" in body or b"int()" in body, (data, body)
    assert status not in {502, 503, 504}, (data, answer)
    if b"application/json" in head and body:
        json.loads(body, parse_constant=lambda word: 1 / 0)
    return status
