"""The benchmarks work: each runs, with next to no repetitions, and gives plausible numbers.

How fast anything is, is not tested, but for the number of frames, which is exact.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import signal
import socket
import statistics

import pytest

from pyroipc.client import janitor
from tests.benchmarks import (
    batches,
    bulk,
    futures,
    isolated,
    network_connect,
    network_echo,
    network_memory,
    network_silence,
    oneways,
    report,
    run,
    shared,
    streams,
    throughput,
)
from tests.benchmarks.children import MODES, Placement, forked, modes_here
from tests.benchmarks.efforts import EFFORTS
from tests.benchmarks.figures import exact_figure, is_reached
from tests.benchmarks.frames import GOAL, count_frames
from tests.benchmarks.load import Crowd, crowd
from tests.benchmarks.lumps import LUMP_MODES, Lump, lumps_in_turns
from tests.benchmarks.network_clients import connection
from tests.benchmarks.network_load import CLIENTS, transcript_of
from tests.benchmarks.network_servers import (
    BY_HAND,
    OURS,
    OURS_MULTIPLEX,
    PYRO5_LARGE_POOL,
    SERVERS,
    forked_server,
    fresh_server,
)
from tests.benchmarks.peers import CONTESTANTS
from tests.benchmarks.startup import UNWANTED, loaded_modules
from tests.benchmarks.transcripts import CONNECTION, NATIVE, record
from tests.support.leaks import lasting_differences, resources

TINY = EFFORTS["tiny"]
janitor.start()  # one thread for the life of the process


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = resources()
    yield
    found = lasting_differences(before)
    assert not found, "\n".join(found)


def are_times(samples, count):
    return len(samples) == count and all(0 < x < 10e6 and math.isfinite(x) for x in samples)


def test_large_arrays():
    found = {figure["key"]: figure for figure in bulk.measure(TINY)}
    assert len(found) == 10
    for figure in found.values():
        assert figure["value"] is not None
        for samples in figure["samples"].values():
            assert are_times(samples, TINY.bulk.rounds)
    assert -1 < found["bulk-peak"]["value"] < 8


def test_shared_arrays():
    figures = isolated.run_section("shared", "tiny")
    count = len(shared.SERIALIZERS) * len(TINY.shared.sizes)
    assert [x["goal"] for x in figures] == [100] * count + [None] * len(shared.ORDINARY)
    assert len({figure["key"] for figure in figures}) == len(figures)
    for figure in figures:
        assert figure["value"] > 0
        assert figure["about"].endswith(".")
        assert all(are_times(x, TINY.shared.rounds) for x in figure["samples"].values())


def test_throughput():
    found = isolated.run_section("throughput", "tiny")
    assert list(found) == ["1024", "4096", "16384", "65536"]
    for samples in found.values():
        assert list(samples) == [throughput.LIMIT, *throughput.CONTESTANTS]
        assert all(are_times(x, TINY.throughput.rounds) for x in samples.values())


def test_what_memory_does_not_allow_is_not_sent(monkeypatch):
    monkeypatch.setattr(throughput, "available_bytes", lambda: 8 * 5000)
    assert throughput.sizes(1 << 20) == [1024, 4096]
    monkeypatch.setattr(throughput, "available_bytes", lambda: None)
    assert throughput.sizes(1 << 20)[-1] == 1 << 20


def test_a_plain_call_stays_within_its_frames():
    ours, theirs = count_frames()
    assert ours > 0
    assert theirs > 1
    assert ours + theirs <= GOAL


def test_importing_loads_nothing_heavy():
    loaded = loaded_modules("import pyroipc")
    assert "pyroipc" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in UNWANTED]


def test_latency():
    figures = isolated.run_section("latency", "tiny")
    assert [figure["key"] for figure in figures] == [f"latency-{mode}" for mode in MODES]
    measured = [figure for figure in figures if figure["value"] is not None]
    assert len(measured) == len(modes_here())
    for figure in measured:
        assert list(figure["samples"]) == ["pyroipc", "Pipe"]
        assert all(are_times(x, TINY.rounds) for x in figure["samples"].values())
        assert figure["value"] > 0
        assert 0 < figure["goal"] < 1


def test_threads():
    figures = isolated.run_section("threads", "tiny")
    assert [figure["key"] for figure in figures] == ["threads-free", "threads-one"]
    assert list(figures[0]["samples"]) == ["pyroipc", "SimpleQueue"]
    assert all(are_times(x, TINY.rounds) for x in figures[0]["samples"].values())


def test_startup():
    figures = {figure["key"]: figure for figure in isolated.run_section("startup", "tiny")}
    for key, count in (("start-fork", TINY.forks), ("start-spawn", TINY.interpreters)):
        assert list(figures[key]["samples"]) == ["pyroipc", "multiprocessing"]
        assert all(are_times(x, count) for x in figures[key]["samples"].values())
    assert are_times(figures["import pyroipc"]["samples"]["bare"], TINY.imports)
    assert figures["import pyroipc"]["goal"] == 12
    assert {"from pyroipc import *", "import Pyro5.api"} < set(figures)
    assert figures["import-modules"]["value"] == 0


def test_peers():
    peers = isolated.run_section("peers", "tiny")
    assert list(peers) == modes_here()
    for samples in peers.values():
        assert list(samples) == list(CONTESTANTS)  # the extra "test" installs them all
        assert all(are_times(x, TINY.peer_rounds) for x in samples.values())


@pytest.mark.parametrize(
    "section",
    [x.SECTION for x in (batches, oneways, futures, streams)],
    ids=lambda section: section.key,
)
def test_lumps(section):
    found = isolated.run_section(section.key, "tiny")
    what, times = found["times"][section.key]
    assert what == section.what
    assert list(times) == [mode for mode in LUMP_MODES if mode in modes_here()]
    for samples in times.values():
        assert list(samples) == [*section.against, *section.others]
        assert all(are_times(samples[name], TINY.lump_rounds) for name in section.against)
        assert all(are_times(samples[name], TINY.lump_peer_rounds) for name in section.others)
    for mode in times:
        figure = next(x for x in found["figures"] if x["key"] == f"{section.key}-{mode}")
        assert figure["value"] > 0
        assert figure["about"].endswith(".")
    for figure in found["figures"]:
        if figure["key"] in {"streams-ahead", "streams-growth"}:  # exact enough to be tested
            assert is_reached(figure) in {True, None}


def test_callbacks():
    found = isolated.run_section("callbacks", "tiny")
    figures = [figure for figure in found["figures"] if figure["value"] is not None]
    assert len(figures) == 2 * len([mode for mode in LUMP_MODES if mode in modes_here()])
    for figure in figures:
        assert list(figure["samples"])[1] == "plain call"
        assert all(are_times(x, TINY.rounds) for x in figure["samples"].values())


def network_figures(section):
    figures = isolated.run_section(section, "tiny")
    for figure in figures:
        assert figure["table"] == "network"
        assert figure["about"].endswith(".")
        if figure["value"] is not None:
            assert figure["value"] > 0
            assert all(are_times(x, len(x)) for x in figure["samples"].values())
    return {figure["key"]: figure for figure in figures}


def test_network_echo():
    figures = network_figures("network_echo")
    assert [x["goal"] for x in figures.values()] == [0.85, 2.0, None, None]
    for serializer, figure in zip(("msgpack", "serpent") * 2, figures.values(), strict=True):
        if figure["value"] is None:
            continue
        names = [name for name in network_echo.OTHERS if name.endswith(serializer)]
        assert list(figure["samples"]) == [f"pyroipc, {serializer}", BY_HAND, *names]
        assert len(figure["samples"][BY_HAND]) == TINY.network.rounds
        assert all(name in figure["detail"] for name in names)


def test_network_load():
    figures = network_figures("network_load")
    network = TINY.network
    for clients, goal, beside in ((network.crowd, 1.8, 2), (network.large_crowd, 2.3, 1)):
        for kind in ("thread", "multiplex"):
            rate = figures.pop(f"network-load-{clients}-{kind}")
            late = figures.pop(f"network-load-{clients}-{kind}-p99")
            assert rate["goal"] == goal
            assert rate["more_is_better"]
            for figure in (rate, late):
                ours, by_hand, *others = figure["samples"].values()
                assert len(ours) == len(by_hand) == network.load_rounds
                assert len(others) == beside
    assert not figures


def test_network_memory():
    (figure,) = network_figures("network_memory").values()
    if figure["value"] is not None:
        assert list(figure["samples"]) == ["pyroipc", OURS_MULTIPLEX, BY_HAND, PYRO5_LARGE_POOL]
        assert statistics.median(figure["samples"][BY_HAND]) > 4  # a thread cannot be had for less


def test_network_connect():
    (figure,) = network_figures("network_connect").values()
    assert set(figure["samples"]) == {*network_connect.COMPARED, *network_connect.OTHERS}
    assert figure["goal"] == 2


def test_network_silence():
    figures = network_figures("network_silence")
    assert len(figures) == len(network_silence.KINDS)
    for figure in figures.values():
        assert figure["goal"] == 1.5
        assert all(len(x) == TINY.network.silent_rounds for x in figure["samples"].values())


def test_interop():
    figures = network_figures("interop")
    assert [x["goal"] for x in figures.values()] == [1.0] * 4 + [None] * 4
    for key, figure in figures.items():
        library = "Pyro5" if "pyro5" in key else "Pyro4"
        ours = f"{library} to pyroipc" if "client" in key else f"pyroipc to {library}"
        assert list(figure["samples"]) == [ours, f"{library} to {library}", "pyroipc to pyroipc"]
        assert all(len(x) == TINY.network.rounds for x in figure["samples"].values())


@pytest.mark.parametrize("name", CLIENTS)
def test_what_was_written_down_is_as_good_as_a_client(name):
    with forked_server(SERVERS[name]) as server:
        transcript = transcript_of(name, server)
        with transcript.connect(server) as one, transcript.connect(server) as other:
            for sock in (one, other, one):
                transcript.call(sock)


def test_another_answer_than_that_written_down_is_noticed():
    with forked_server(SERVERS[BY_HAND]) as server:
        transcript = record(server, connection, CONNECTION)
        wrong = transcript.request.replace(b"*", b"+")  # 43
        assert wrong != transcript.request
        with transcript.connect(server) as sock, pytest.raises(AssertionError):
            transcript._replace(request=wrong).call(sock)


def test_a_message_says_how_long_it_is():
    data = NATIVE.sizes.pack(3, 4).ljust(NATIVE.header, b"\0")
    assert NATIVE.total(data[:-1]) is None
    assert NATIVE.total(data) == NATIVE.header + 7
    whole = data + b"1234567"
    assert NATIVE.split(whole + whole) == [whole, whole]
    with pytest.raises(ValueError, match="not complete"):
        NATIVE.split(whole + data)


def test_an_answer_in_pieces_counts_once():
    with forked_server(SERVERS[BY_HAND]) as server:
        transcript = record(server, connection, CONNECTION)
    near, far = socket.socketpair()
    with near, far:
        far.send(transcript.reply)  # a crowd calls once before it begins
        clients = Crowd(transcript, [near])
        for piece in (transcript.reply[:3], transcript.reply[3:-1]):
            far.send(piece)
            assert not list(clients._answered())
        far.send(transcript.reply[-1:])
        assert len(list(clients._answered())) == 1
        clients.close()


def test_a_crowd_notices_that_the_server_has_gone():
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(forked_server(SERVERS[OURS]))
        with crowd(transcript_of(OURS, server), server, 2) as clients:
            os.kill(server.pid, signal.SIGKILL)
            with pytest.raises(ConnectionError):
                clients.run(10)


@pytest.mark.skipif(network_memory.private_kib(None) is None, reason="needs smaps_rollup")
def test_private_memory_is_what_a_process_alone_uses():
    with fresh_server(BY_HAND) as server:
        alone = network_memory.private_kib(server.pid)
    assert 1000 < alone < 100_000
    before = network_memory.private_kib(None)
    with mmap.mmap(-1, 8 << 20) as taken:  # what is freed and used again would not count
        taken.write(b"x" * len(taken))
        assert network_memory.private_kib(None) - before > 7000


def test_a_server_that_ends_before_it_listens_is_reported():
    with pytest.raises(RuntimeError, match="before it listened"), forked_server(os._exit):
        pass


def test_lumps_take_turns_and_count_their_items():
    ran = []
    lumps = {name: Lump(lambda name=name: ran.append(name), 10) for name in "ab"}
    samples = lumps_in_turns(lumps, 2, 0)
    assert ran == [*"aabb", *"abba"]  # two to learn how long they take, and then the rounds
    assert all(are_times(x, 2) for x in samples.values())


def test_a_section_that_fails_is_reported_and_the_others_run(monkeypatch):
    def run_section(name, effort):
        if name == "latency":
            raise isolated.SectionError("latency failed")
        return [exact_figure(name, name, "frames", 2, 1, "")]

    monkeypatch.setattr(run, "run_section", run_section)
    results = run.run("tiny", ["latency", "frames"])
    assert results["rates"] == {}
    assert [figure["key"] for figure in results["figures"]] == ["frames"]
    assert results["failures"] == ["latency failed"]
    assert "latency failed" in report.as_text(results)


def test_an_unknown_section_fails_with_what_it_printed():
    with pytest.raises(isolated.SectionError, match=r"no_such.*exit code 1(.|\n)*Traceback"):
        isolated.run_section("no_such", "tiny")


def test_a_section_that_hangs_is_ended_with_its_children(monkeypatch):
    hanging = "import os, threading; os.fork(); threading.Event().wait()"
    monkeypatch.setattr(isolated, "_CODE", hanging)
    monkeypatch.setitem(isolated.EFFORTS, "tiny", TINY._replace(limit_seconds=0.5))
    with pytest.raises(isolated.SectionError, match=r"longer than 0\.5 s"):
        isolated.run_section("latency", "tiny")


def test_a_forked_child_is_gone_after_an_error():
    with pytest.raises(ZeroDivisionError), forked(lambda: None, Placement("free")):
        raise ZeroDivisionError  # the fixture looks for the child


def test_a_group_means_all_of_its_sections():
    assert run._chosen(["frames", "model"]) == ["frames", *isolated.MODEL_SECTIONS]
    assert run._chosen(["network"]) == list(isolated.NETWORK_SECTIONS)
    assert run._chosen(None) == list(isolated.SECTIONS)


def test_a_place_for_the_plots_is_looked_for_before_anything_is_measured(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run.main(["--plot", str(tmp_path / "plot.svg")])
    assert "is not a directory" in capsys.readouterr().err
