"""Answers: which status tells of which error."""

from __future__ import annotations

import json

import pytest

import pyroipc
from pyroipc.gateway import responses


def remote(error):
    error._pyroTraceback = ["Traceback\n"]
    return error


def unsent(error):
    error.call_status = "not sent"
    return error


@pytest.mark.parametrize(
    ("error", "phase", "status"),
    [
        (remote(pyroipc.NamingError("unknown name: x")), "name", 404),
        (pyroipc.NamingError("failed to locate the name server"), "name", 503),
        (pyroipc.TimeoutError("the name server"), "name", 503),
        (remote(pyroipc.DaemonError("it is closing")), "name", 503),
        (pyroipc.ConnectError("the name server"), "name", 503),
        (remote(pyroipc.DaemonError("unknown object")), "connect", 404),
        (pyroipc.DaemonError("unknown object"), "connect", 404),
        (pyroipc.ConnectError("refused"), "connect", 502),
        (pyroipc.ConnectionClosedError("gone"), "connect", 502),
        (pyroipc.TimeoutError("late"), "connect", 504),
        (pyroipc.BusyError("busy"), "connect", 503),
        (pyroipc.PyroError("it exposes nothing"), "connect", 502),
        (remote(ValueError("no")), "call", 500),
        (remote(pyroipc.TimeoutError("of the method itself")), "call", 500),
        (remote(pyroipc.NamingError("of the method itself")), "call", 500),
        (pyroipc.TimeoutError("late"), "call", 504),
        (pyroipc.BusyError("busy"), "call", 503),
        (pyroipc.DrainingError("about to stop"), "call", 503),
        (pyroipc.PeerDiedError("dead"), "call", 502),
        (pyroipc.ProtocolError("nonsense"), "call", 502),
        (unsent(pyroipc.MessageTooLargeError("large")), "call", 413),
        (pyroipc.MessageTooLargeError("a large answer"), "call", 502),
        (unsent(pyroipc.SerializeError("an argument")), "call", 400),
        (pyroipc.SerializeError("a result"), "call", 502),
        (unsent(pyroipc.ConnectError("refused")), "call", 502),
        (pyroipc.SecurityError("not for you"), "call", 500),
    ],
    ids=lambda value: getattr(type(value), "__name__", "") + f" {value}",
)
def test_status(error, phase, status):
    assert responses.status_of(error, phase) == status


def test_who_is_told_to_try_again():
    busy = dict(responses.failure(503, pyroipc.BusyError("busy")).headers)
    late = dict(responses.failure(504, pyroipc.TimeoutError("late")).headers)
    assert (busy["Retry-After"], late.get("Retry-After")) == ("1", None)


def test_traceback_is_told_if_it_is_wanted():
    error = remote(ValueError("no"))
    assert b"Traceback" not in responses.failure(500, error).body
    told = json.loads(responses.failure(500, error, traceback=True).body)
    assert told["attributes"]["_pyroTraceback"] == ["Traceback\n"]


def test_lengths_and_status_lines():
    for response in (
        responses.text(404, "ä"),
        responses.json_value("ä"),
        responses.empty(),
        responses.html(200, "ä\ud800", "p"),
    ):
        assert dict(response.headers)["Content-Length"] == str(len(response.body))
    assert responses.text(404, "").status_line == "404 Not Found"
    assert responses.text(413, "").status_line.startswith("413 ")
    stream = responses.lines(iter([b"1\n"]))
    assert stream.is_stream
    assert "Content-Length" not in dict(stream.headers)
