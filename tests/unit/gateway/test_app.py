"""The WSGI application by itself: its attributes, and what it reads. Nobody is connected to."""

from __future__ import annotations

import io
import json
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import pyroipc
import pyroipc.gateway
from pyroipc.gateway import Gateway, pyro_app
from pyroipc.gateway.app import request_of
from pyroipc.gateway.requests import BadRequestError
from tests.support.daemons import settings


def environment(path="/", **items):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, **items}
    setup_testing_defaults(environ)
    return environ


def asked(gateway, path="/", **items):
    """Return status, headers and body; the application keeps to the rules of WSGI."""
    environ = {"QUERY_STRING": "", "SCRIPT_NAME": "", **environment(path, **items)}
    answers = []
    body = validator(gateway)(
        environ, lambda status, headers, _=None: answers.append((status, headers))
    )
    data = b"".join(body)
    body.close()
    ((status, headers),) = answers
    return int(status[:3]), dict(headers), data


def test_attributes_are_those_of_pyro():
    assert pyro_app.ns_regex == r"http\."
    assert pyro_app.gateway_key is None
    assert pyro_app.hmac_key is None
    assert pyro_app.cors == ""
    assert pyro_app.comm_timeout is None
    assert isinstance(pyro_app, Gateway)
    assert "Gateway" in pyroipc.gateway.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        pyroipc.gateway.nonsense  # noqa: B018


def test_attributes_may_be_set_at_any_time():
    gateway = Gateway(gateway_key="geheim")
    assert asked(gateway, "/pyro/")[0] == 403
    assert asked(gateway, "/pyro/other/x", QUERY_STRING="$key=geheim")[0] == 403
    assert b"key" in asked(gateway, "/pyro/other/x")[2]
    gateway.gateway_key = b"other"
    assert b"key" in asked(gateway, "/pyro/other/x", QUERY_STRING="$key=geheim")[2]
    gateway.gateway_key = None
    assert b"denied" in asked(gateway, "/pyro/other/x")[2]
    gateway.cors = "*"
    assert asked(gateway)[1]["Access-Control-Allow-Origin"] == "*"
    gateway.hosts = ["example.org"]
    assert asked(gateway)[0] == 403
    assert asked(gateway, HTTP_HOST="EXAMPLE.org:80")[0] == 302


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("ns_regex", "(", ValueError),
        ("ns_regex", None, TypeError),
        ("cors", "nonsense", ValueError),
        ("cors", None, TypeError),
        ("gateway_key", 5, TypeError),
        ("hmac_key", 5, TypeError),
        ("comm_timeout", -1, ValueError),
        ("comm_timeout", float("nan"), ValueError),
        ("comm_timeout", float("inf"), ValueError),
        ("comm_timeout", "5", TypeError),
        ("comm_timeout", True, TypeError),
        ("hosts", "localhost", TypeError),
    ],
)
def test_attributes_that_cannot_be(name, value, error):
    gateway = Gateway()
    before = getattr(gateway, name)
    with pytest.raises(error):
        setattr(gateway, name, value)
    assert getattr(gateway, name) == before
    with pytest.raises(error):
        Gateway(**{name: value})


def test_the_settings_of_the_process_stay_as_they_are():
    before = pyroipc.config.as_dict()
    with Gateway(comm_timeout=0.2, settings=settings(NS_PORT=1, BROADCAST_ADDRS=[])) as gateway:
        status, headers, body = asked(gateway, "/pyro/http.x/y")
        assert status == 503
        assert headers["Retry-After"] == "1"
        assert json.loads(body)["__class__"] == "NamingError"
        status, _, body = asked(gateway, "/pyro/")
        assert status == 503
        assert b"Cannot connect to the Pyro name server" in body
        with pytest.raises(pyroipc.NamingError):
            gateway.locate()
    assert pyroipc.config.as_dict() == before


def test_an_error_of_our_own_is_told_and_logged(caplog):
    gateway = Gateway()
    gateway._name_server.lookup = lambda access, name: 1 / 0
    status, headers, body = asked(gateway, "/pyro/http.x\n/y")
    assert status == 500
    assert json.loads(body)["__class__"] == "builtins.ZeroDivisionError"
    assert "X-Pyro-Correlation-Id" in headers
    (record,) = caplog.records
    assert record.name == "pyroipc.gateway"
    assert record.getMessage() == r"'GET' '/pyro/http.x\n/y'"
    assert record.exc_info


def test_head_has_no_body():
    assert asked(Gateway(), "/", REQUEST_METHOD="HEAD")[2] == b""
    gateway = Gateway(gateway_key="geheim")
    status, headers, body = asked(gateway, "/pyro/", REQUEST_METHOD="HEAD")
    assert (status, body) == (403, b"")
    assert int(headers["Content-Length"]) > 10


def test_mounted_below_a_path():
    assert asked(Gateway(), "/", SCRIPT_NAME="/api")[1]["Location"] == "/api/pyro/"


# ---------------------------------------------------------------------------------- request_of


def posted(body, **items):
    return environment(
        "/pyro/a/b",
        **{
            "REQUEST_METHOD": "POST",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **items,
        },
    )


def test_request():
    request = request_of(
        posted(
            b"abcdef",
            CONTENT_TYPE="text/x",
            CONTENT_LENGTH="3",
            HTTP_X_PYRO_OPTIONS="oneway",
            QUERY_STRING="\xc3\xa4=1",
            PATH_INFO="/\xc3\xa4",
            SCRIPT_NAME="/m\xc3\xa4",
        )
    )
    assert request.method == "POST"
    assert request.path == "/ä"
    assert request.query == "ä=1"
    assert request.mount == "/m%C3%A4"
    assert request.body == b"abc"
    assert request.header("x-pyro-options") == "oneway"
    assert request.media_type == "text/x"


class Slow(io.RawIOBase):
    def read(self, size=-1):
        raise TimeoutError("timed out")


class OneByOne(io.BytesIO):
    def read(self, size=-1):
        return super().read(min(size, 1))


def test_a_body_may_come_in_pieces():
    assert request_of(posted(b"abc", **{"wsgi.input": OneByOne(b"abcdef")})).body == b"abc"
    assert request_of(posted(b"", CONTENT_LENGTH="")).body == b""
    items = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert request_of(posted(b"abc", CONTENT_LENGTH="", **items)).body == b"abc"
    assert request_of(environment("/", CONTENT_LENGTH="nonsense")).body == b""  # a GET has none


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        (posted(b"", CONTENT_LENGTH="1048577"), 413),
        (posted(b"", CONTENT_LENGTH="9" * 5000), 413),
        (posted(b"x" * 1048577, CONTENT_LENGTH="", **{"wsgi.input_terminated": True}), 413),
        (posted(b"x", CONTENT_LENGTH="-1"), 400),
        (posted(b"x", CONTENT_LENGTH="+1"), 400),
        (posted(b"x", CONTENT_LENGTH="\xb2"), 400),
        (posted(b"x", CONTENT_LENGTH="2"), 400),
        (posted(b"x", HTTP_TRANSFER_ENCODING="chunked"), 411),
        (posted(b"x", **{"wsgi.input": Slow()}), 408),
        (environment("/\xff"), 400),
        (environment("/\u20ac"), 400),
        (environment("/", QUERY_STRING="\xff"), 400),
    ],
)
def test_requests_that_cannot_be_read(environ, status):
    with pytest.raises(BadRequestError) as caught:
        request_of(environ)
    assert caught.value.status == status
    answers = []
    environ["wsgi.input"].seek(0) if environ["wsgi.input"].seekable() else None
    Gateway()(environ, lambda *answer: answers.append(answer))
    assert answers[0][0].startswith(f"{status} ")
