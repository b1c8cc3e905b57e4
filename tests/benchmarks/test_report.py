"""Results become tables and pictures, and say how far they can be believed."""

from __future__ import annotations

import json
import statistics

import pytest

from tests.benchmarks import machine, report, throughput
from tests.benchmarks.figures import (
    difference_figure,
    exact_figure,
    is_reached,
    is_suspicious,
    missing_figure,
    of_network,
    rate_figure,
    ratio_figure,
    size_figure,
    speed_figure,
    time_figure,
)
from tests.benchmarks.peers import BASELINE


@pytest.fixture(scope="module")
def facts():
    return machine.facts()


@pytest.fixture
def results(facts):
    ours, base = [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0]
    peer = {BASELINE: [10.0, 20.0], "pyroipc, pickle": [5.0, 5.0], "RPyC": [30.0, 40.0]}
    return {
        "effort": "tiny",
        "machine": {**facts, "busy": 0.5, "stolen": 0.0},
        "figures": [
            ratio_figure("a", "a ratio", 2.0, {"pyroipc": ours, "other": base}),
            difference_figure("b", "a difference", 0.5, [12.0, 12.0], [11.0, 11.0]),
            exact_figure("c", "an exact number", "frames", 32, 30, "so and so"),
            missing_figure("d", "a missing one", 0.15, "no second CPU"),
            rate_figure("e", "a rate", 0.5, {"pyroipc": ours, "other": base}, "It is so."),
            speed_figure("f", "a speed", 1.2, ours, "It is fast."),
            time_figure("t", "a time", 100, ours),
            of_network(size_figure("g", "a size", 4.0, ours), "It is so large.", {}, ["and so"]),
        ],
        "peers": {"one": peer, "free": peer},
        "rates": {"e": ("lumps of work", {"free": {"pyroipc": ours}, "one": {"pyroipc": base}})},
        "throughput": {
            "1024": {throughput.LIMIT: [0.1, 0.1], "pyroipc, TCP, msgpack": [12.8, 12.8]},
            "65536": {throughput.LIMIT: [10, 10], "pyroipc, TCP, msgpack": [20, 20, 30, 40]},
        },
        "failures": [],
        "seconds": 1.0,
    }


def test_figures_are_medians_and_know_their_goals(results):
    ratio, difference, exact, missing, rate, speed, time, size = results["figures"]
    assert ratio["value"] == 1.25
    assert is_reached(ratio) is True
    assert is_suspicious(ratio)
    assert difference["value"] == 1.0
    assert is_reached(difference) is False
    assert not is_suspicious(difference)
    assert is_reached(exact) is True
    assert is_reached(missing) is None
    assert rate["value"] == statistics.median([2, 1, 2 / 3, 0.5])
    assert is_reached(rate) is True
    assert speed["value"] == statistics.median([1, 1 / 2, 1 / 3, 1 / 4])
    assert is_reached(speed) is False
    assert time["value"] == 2.5
    assert is_reached(time) is True
    assert size["value"] == 2.5
    assert is_reached(size) is True


def test_the_tables_tell_it_all(results):
    text = report.as_text(json.loads(json.dumps(results)))
    assert "1.25 (0.62 to 1.88)" in text
    assert "1 ms" in text
    assert "not measured" in text
    assert "no second CPU" in text
    assert "2.50 / 2.50" in text  # RPyC against the pipe: 3 and 2
    assert "50% busy before the run began" in text
    assert "the rounds of a spread by" in text
    assert "at least 0.5" in text
    assert "It is so." in text
    assert "2.5 KiB" in text
    assert "It is so large." in text
    assert "2.5 µs (1.25 to 3.75)" in text
    assert ["64", "KiB", "6.55", "2.62"] in [line.split() for line in text.splitlines()]
    assert "pyroipc, TCP, msgpack, spread by up to 70% (64 KiB)" in text
    assert "400       500" in text  # thousands per second: 2.5 µs and 2 µs each


def test_a_page_keeps_what_stands_around_the_tables(tmp_path, results):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.write_markdown(page, results)
    once = page.read_text(encoding="utf-8")
    report.write_markdown(page, results)
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert "| a ratio | 2 |" in once


def test_a_page_without_marks_is_left_alone(tmp_path, results):
    page = tmp_path / "page.md"
    page.write_text("mine\n", encoding="utf-8")
    with pytest.raises(ValueError, match="to write between"):
        report.write_markdown(page, results)
    assert page.read_text(encoding="utf-8") == "mine\n"


def test_the_plots_need_matplotlib_and_say_so(tmp_path, results, monkeypatch):
    from tests.benchmarks.plot import draw

    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install"):
        draw(tmp_path, results)


@pytest.mark.parametrize("missing", ["peers", "throughput"])
def test_what_was_measured_is_drawn(tmp_path, results, missing):
    pytest.importorskip("matplotlib")
    from tests.benchmarks.plot import draw

    results[missing] = {}
    draw(tmp_path, results)
    (drawn,) = tmp_path.iterdir()
    picture = drawn.read_text(encoding="utf-8")
    if missing == "peers":
        assert drawn.name == "throughput.svg"
        assert all(x in picture for x in (throughput.LIMIT, "pyroipc, TCP, msgpack", "64 KiB"))
    else:
        assert drawn.name == "benchmarks.svg"
        assert all(x in picture for x in ("RPyC", "lumps of work"))
    draw(tmp_path, results)
    assert drawn.read_text(encoding="utf-8") == picture
    results["peers"] = results["throughput"] = {}
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path, results)
