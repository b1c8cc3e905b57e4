"""The text of a signature becomes a Signature; nothing in it runs."""

from __future__ import annotations

import inspect
import threading

import pytest

from pyroipc.client.signatures import SourceText, read_signature

UNKNOWN = inspect.signature(lambda *args, **kwargs: None)


def sample(
    a, /, b: int, c: str = "x", *rest: float, d=None, e: dict[str, int] = 5, **more
) -> bool:
    raise AssertionError


def test_everything_at_once():
    read = read_signature(str(inspect.signature(sample)))
    parameters = inspect.signature(sample).parameters.values()
    assert [(p.name, p.kind) for p in read.parameters.values()] == [
        (p.name, p.kind) for p in parameters
    ]
    assert [p.default for p in read.parameters.values()] == [p.default for p in parameters]
    assert read.parameters["e"].annotation == "dict[str, int]"
    assert read.parameters["a"].annotation is inspect.Parameter.empty
    assert read.return_annotation == "bool"


@pytest.mark.parametrize(
    "value", [1, -1.5, "text", b"bytes", None, True, (1, (2,)), [1, [2]], {"a": {1}}, 1 + 2j, ""]
)
def test_literal_defaults_are_values(value):
    assert read_signature(f"(x={value!r})").parameters["x"].default == value


@pytest.mark.parametrize(
    "text",
    ["__import__('os').abort()", "float('inf')", "a.b.c", "[x for x in y]", "lambda: 5",
     "<object object at 0x7f00>", "<function f.<locals>.<lambda> at 0x7f00>", "<Color.RED: 1>"],
)  # fmt: skip
def test_other_defaults_are_their_text(text):
    signature = read_signature(f"(x={text}, y='=<z>')")
    default = signature.parameters["x"].default
    assert isinstance(default, SourceText)
    assert repr(default) == text
    assert f"x={text}" in str(signature)
    assert "'=<z>'" in str(signature)


@pytest.mark.parametrize(
    "text",
    [None, 5, b"(a)", "", "a", "(", ")", "(a", "(a, a)", "(a=1, b)", "(*, )", "(a): import os",
     "(a): pass\nimport os", "(a)\n", "(a) -> ", "()" * 10, "(a=" + "-" * 3900 + "1)" * 2,
     "(" * 3000, "(a=" + "[" * 3000, "(a=" + "(" * 1500 + ")" * 1500 + ")", "(\x00)", "(\ud800)",
     "(a=" + "9" * 3990 + ")" * 50, "(x: " + "a" * 10_000 + ")"],
)  # fmt: skip
def test_what_cannot_be_read(text):
    assert read_signature(text) == UNKNOWN


@pytest.mark.parametrize(
    "text",
    ["(a=" + "-" * 3900 + "1)", "(a=" + "not " * 900 + "1)", "(a=" + "2**" * 1200 + "2)",
     "(a=" + "(" * 199 + ")" * 199 + ")", "(a=x" + ".y" * 1900 + ")", "(a=x" + "()" * 1900 + ")",
     "(a=" + "lambda:" * 550 + "1)", "(a=" + "1 if 1 else " * 300 + "1)",
     "(a" + ",a" * 1900 + ")"],
)  # fmt: skip
def test_hostile_texts_in_a_thread_with_a_small_stack(text):
    found = []
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(str(read_signature(text))))
        thread.start()
        thread.join(10)
    finally:
        threading.stack_size(before)
    assert found
