"""Finding out which dialect a daemon speaks, and what is believed about that."""

from __future__ import annotations

import hmac

import pytest

from pyroipc import config
from pyroipc.client.pyro import detection
from pyroipc.errors import SecurityError, VersionMismatchError
from pyroipc.location import Location
from pyroipc.serializers import marshal_reader
from pyroipc.wire.dialect import NATIVE, PYRO4, PYRO5, OtherDialectError
from tests.support.pyro_frames import CONNECTFAIL, CONNECTOK
from tests.support.pyro_frames import PYRO4 as FRAMES

HERE, ELSEWHERE = Location("localhost", 1), Location("localhost", 2)
KEY = b"a key"
GARBAGE = "invalid data or unsupported protocol version"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(detection, "_known", {})


def speaks(version):
    return OtherDialectError("the peer speaks something", version)


# ------------------------------------------------------------------------------ what is meant


def test_chosen():
    assert detection.chosen(None, config) == detection.AUTO
    for name in (NATIVE, PYRO5, PYRO4, detection.AUTO):
        assert detection.chosen(name, config) == name
        settings = config.copy()
        settings.DIALECT = name
        assert detection.chosen(None, settings) == name
        assert detection.chosen(PYRO5, settings) == PYRO5


@pytest.mark.parametrize("name", ["", "Pyro5", "502", "pyro3", "PYRO4"])
def test_there_is_no_such_dialect(name):
    with pytest.raises(ValueError, match=r"'auto', 'native', 'pyro5', 'pyro4', not"):
        detection.chosen(name, config)


# -------------------------------------------------------------------------- what is remembered


def test_whoever_does_not_know_speaks_the_native_one():
    assert detection.first_guess(HERE) == NATIVE
    detection.forget(HERE)  # of which nothing is known


@pytest.mark.parametrize(("version", "name"), [(502, PYRO5), (48, PYRO4), (None, NATIVE)])
def test_what_was_said_is_remembered_for_the_address(version, name):
    assert detection.learn(HERE, speaks(version)) == name
    assert detection.first_guess(HERE) == name
    assert detection.first_guess(Location("localhost", 1)) == name
    assert detection.first_guess(ELSEWHERE) == NATIVE
    detection.forget(ELSEWHERE)
    assert detection.first_guess(HERE) == name
    detection.forget(HERE)
    assert detection.first_guess(HERE) == NATIVE


def test_another_daemon_may_have_come():
    detection.learn(HERE, speaks(502))
    detection.learn(HERE, speaks(48))
    assert detection.first_guess(HERE) == PYRO4


@pytest.mark.parametrize("version", [0, 5, 46, 47, 49, 501, 503, 65535])
def test_versions_that_nobody_here_speaks(version):
    with pytest.raises(
        VersionMismatchError, match=r"the peer speaks .*502 \(pyro5\), 48 \(pyro4\)"
    ):
        detection.learn(HERE, speaks(version))
    assert detection.first_guess(HERE) == NATIVE


def test_so_much_is_remembered_and_no_more():
    for port in range(1, 3000):
        detection.learn(Location("localhost", port), speaks(502))
    assert len(detection._known) <= 1000
    assert detection.first_guess(Location("localhost", 2999)) == PYRO5
    assert detection.first_guess(Location("localhost", 1)) == NATIVE


@pytest.mark.parametrize(("learned_with", "asked_with"), [(b"", KEY), (KEY, b""), (KEY, b"other")])
def test_what_was_found_out_with_another_key_does_not_count(learned_with, asked_with):
    detection.learn(HERE, speaks(48), learned_with)
    assert detection.first_guess(HERE, learned_with) == PYRO4
    assert detection.first_guess(HERE, asked_with) == NATIVE
    detection.forget(HERE)
    assert detection.first_guess(HERE, learned_with) == NATIVE


# ------------------------------------------------------------------------------ what is believed


def refusal(text=GARBAGE, key=KEY, message_type=CONNECTFAIL, **parts):
    payload = marshal_reader.write(text)
    signature = hmac.digest(key, payload, "sha1")
    area = FRAMES.area({"HMAC": signature})
    return FRAMES.frame(message_type, 3, seq=0, payload=payload, area=area, **parts)


def test_a_refusal_that_is_signed_is_believed():
    detection.check_signed(refusal(), KEY)
    detection.check_signed(refusal() + b"what follows does not matter", KEY)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "says no more"),
        (refusal()[:-1], "says no more"),
        (refusal(key=b"another"), "message hmac mismatch"),
        (FRAMES.frame(CONNECTFAIL, 3, payload=marshal_reader.write(GARBAGE)), "not symmetric"),
        (refusal("hmac key config not symmetric"), "says something else: 'hmac"),
        (refusal("no free workers, increase server threadpool size"), "else: 'no free workers"),
        (refusal(None), "says something else: None"),
        (refusal(message_type=CONNECTOK), "in no way that one would"),
        (refusal(check=7), "makes no sense"),
        (refusal(version=47), "makes no sense"),
        (FRAMES.frame(CONNECTFAIL, payload_bytes=1 << 20), "makes no sense: message too large"),
        (b"PYRO\x01\xf6" + bytes(60), "makes no sense"),
        (bytes(100_000), "makes no sense"),
    ],
    ids=range(13),
)
def test_other_answers_prove_nothing(answer, said):
    with pytest.raises(SecurityError, match=f"as a Pyro4 does, but .*{said}") as caught:
        detection.check_signed(answer, KEY)
    assert "dialect='pyro4', or the setting DIALECT" in str(caught.value)
    assert KEY.decode() not in str(caught.value)
