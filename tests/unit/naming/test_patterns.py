"""Patterns from clients: those that may take long are refused, the others match as re does."""

from __future__ import annotations

import re
import time

import pytest

from pyroipc.errors import NamingError
from pyroipc.naming import patterns
from pyroipc.naming.patterns import Pattern

NAMES = [
    "",
    "a",
    "aaa",
    "ab.cd",
    "Test.one",
    "test.one",
    "test.two.three",
    "x-1",
    "ünïcode",
    "a b",
]


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "test", r"test\.", r"test\..*", r"test\.(one|two)", "^a$", "(?i)TEST", "a|b|x",
        r"[a-z]+\.[a-z]+$", ".*e$", "a{2,}", r"\w+\s\w+", "a?b?", r"(?P<x>t)est", "a+?$",
        "(ab)*x?",         r"\bab\b", "(?:a|b)*", "[^a]*o", "a{3}$", r"(test\.)?one", "(|a)b",
    ],
)  # fmt: skip
def test_what_matches_is_what_re_matches(text):
    assert Pattern(text).matching(NAMES) == [name for name in NAMES if re.match(text, name)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(a+)+b", "repeats itself"),
        ("(a|ab)*c", "branches"),
        ("((a?){9}){9}", "repeats itself"),
        (r"(a)\1", "refers to a group"),
        ("(?=a)a", "looks ahead"),
        ("(?<!a)b", "looks ahead or back"),
        ("(?>a*)b", "atomic"),
        ("(a)?(?(1)b|c)", "condition"),
    ],
)
def test_what_may_take_long_is_refused(text, why):
    with pytest.raises(NamingError, match=why):
        Pattern(text)


@pytest.mark.parametrize("text", ["(", "[a", "*", "a{2,1}", "(?P<1>a)", "\\", "(" * 256])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(NamingError, match="invalid regex"):
        Pattern(text)


def test_types_and_lengths():
    with pytest.raises(NamingError, match="at most 256 characters, not 257"):
        Pattern("a" * 257)
    with pytest.raises(TypeError, match="a regex is a str, not bytes"):
        Pattern(b"a")


@pytest.mark.parametrize(
    "text",
    ["a*a*a*b", "a*?a*?a*?b", "(?i)a*a*a*b", "a?" * 19 + "b", "(a|a)" * 18 + "b", ".*a.*a.*a.*b$"],
)
def test_no_name_takes_long(text):
    pattern = Pattern(text)
    length = 1024
    while length:  # the longest name that is taken
        name = "a" * length
        begin = time.thread_time()
        try:
            pattern.matching([name])
        except NamingError:
            length -= 1
        else:
            break
    assert time.thread_time() - begin < 0.2


def test_too_long_a_name_for_so_many_repetitions():
    with pytest.raises(NamingError, match="on a name of 500 characters: use fewer repetitions"):
        Pattern("a*a*a*b").matching(["ab", "a" * 500])


def test_time_is_limited_in_all(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS_MAX", 0.0)
    with pytest.raises(NamingError, match="took longer than 0 s"):
        Pattern("a.*b.*c").matching(["a" * 100] * 1000)
