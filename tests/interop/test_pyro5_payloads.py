"""Serializers and messages of Pyro5, as objects in the hands of programs: the same bytes here."""

from __future__ import annotations

from tests.support.pyro_programs import PYROIPC, output_of
from tests.support.snippets import ROOT

PROGRAM = ROOT / "tests" / "interop" / "pyro5_programs" / "payloads.py"


def test_the_bytes_are_those_of_the_released_package():
    real, ours = (output_of(on, "Pyro5", PROGRAM) for on in ("Pyro5", PYROIPC))
    assert len(real) > 100
    differing = {
        tuple(one.split()[:2]): (one, other)
        for one, other in zip(real, ours, strict=True)
        if one != other
    }
    # Pyro's errors go by their short names, which both Pyros know; and marshal learns Decimal.
    names = {(name, "NamingError") for name in ("serpent", "json", "marshal", "msgpack")}
    assert differing.keys() == {*names, ("marshal", "Decimal")}
    for name in names:
        one, other = differing[name]
        if name[0] == "marshal":
            assert one.replace("Pyro5.errors.", "") == other
        else:
            assert b"Pyro5.errors.NamingError" in bytes.fromhex(one.split()[2])
            assert b"NamingError" in bytes.fromhex(other.split()[2])
    assert differing["marshal", "Decimal"] == (
        "marshal Decimal SerializeError",
        "marshal Decimal '1.5'",
    )


def test_what_becomes_of_values_is_what_always_became_of_them():
    """Both ends are moved, and the program still gets the texts and lists that it reads."""
    program = PROGRAM.with_name("values.py")
    real, ours = (output_of(on, "Pyro5", program) for on in ("Pyro5", PYROIPC))
    assert len(real) > 200
    differing = [pair for pair in zip(real, ours, strict=True) if pair[0] != pair[1]]
    assert differing == [  # which is no reason for an error
        ("msgpack dict there an error", "msgpack dict there dict"),
        ("msgpack dict and back an error", "msgpack dict and back {1: 'one'}"),
        ("msgpack dict back an error", "msgpack dict back {1: 'one'}"),
    ]
