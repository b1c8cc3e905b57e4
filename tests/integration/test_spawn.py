"""``spawn``: the same promises for every way to start."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time

import pytest

import pyroipc
from pyroipc.process import forkserver
from pyroipc.process.spawning import choose_start
from tests.support.hosts import PATIENCE, Worker, together
from tests.support.spawned import Counter, Marked, broken_factory, make_counter

WAYS = {
    "fork": {"start": "fork"},
    "spawn": {"start": "spawn"},
    "forkserver": {"start": "forkserver"},
    "thread": {"where": "thread"},
}


@pytest.fixture(autouse=True)
def no_server_is_left():
    yield
    forkserver.stop_server()


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def is_process(way):
    return "start" in way


def test_calls_attributes_and_the_end(way):
    with pyroipc.spawn(Counter, 10, step=2, **way) as counter:
        assert counter.add(5) == 17
        assert counter.total == 17
        counter.total = 1
        assert counter.add() == 3
        own = os.getpid()
        assert (counter.where() == own) is not is_process(way)
        assert counter.pid == counter.where()
        assert counter.exitcode is None
        assert "Counter" in repr(counter)
        assert "runs" in repr(counter)
    assert counter.exitcode == (0 if is_process(way) else None)
    with pytest.raises(pyroipc.ConnectionClosedError):
        counter.add()
    counter.close()
    counter.close(0)
    assert "runs" not in repr(counter)


def test_the_second_access_is_the_cached_method(way):
    with pyroipc.spawn(Counter, **way) as counter:
        method = counter.add
        assert vars(counter)["add"] is method
        assert counter.add is method
        counter._pyroTimeout = PATIENCE
        assert counter.add(1) == 1


def test_a_function_makes_the_object(way):
    with pyroipc.spawn(make_counter, 3, **way) as counter:
        assert counter.add(1) == 4


def test_help_and_dir():
    with pyroipc.spawn(Counter, start="fork") as counter:
        assert {"add", "total", "close", "pid", "proxy"} <= set(dir(counter))
        assert str(inspect.signature(counter.add)) == "(number: 'int' = 0) -> 'int'"
        assert "Add a number" in inspect.getdoc(counter.add)


def test_names_of_the_handle_and_of_the_object():
    with pyroipc.spawn(Marked, where="thread") as marked:
        assert marked.pid == os.getpid()
        assert marked.proxy.pid() == "the object's pid"
        assert marked.proxy is marked.proxy
        with pytest.raises(AttributeError, match=r"handle\.proxy"):
            marked.pid = 3
        with marked.proxy:
            pass  # released: the next one is new
        assert marked.proxy.close() == "the object's close"


def test_expose_narrows_what_is_public():
    with pyroipc.spawn(Marked, where="thread") as marked:
        with pytest.raises(AttributeError, match="hidden"):
            marked.hidden()
        with pytest.raises(AttributeError):
            marked._private()


def test_a_constructor_that_raises(way):
    with pytest.raises(ZeroDivisionError) as caught:
        pyroipc.spawn(broken_factory, ZeroDivisionError("by none"), **way)
    assert str(caught.value) == "by none"
    assert "in broken_factory" in "".join(caught.value._pyroTraceback)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_constructor_that_wants_to_exit(way, error):
    with pytest.raises(pyroipc.StartupError, match=type(error).__name__):
        pyroipc.spawn(broken_factory, error, **way)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_a_child_that_dies_while_it_starts(start):
    with pytest.raises(pyroipc.StartupError, match="exited with code 9") as caught:
        pyroipc.spawn(os._exit, 9, start=start)
    assert isinstance(caught.value.__cause__, pyroipc.PeerDiedError)
    assert caught.value.__cause__.exitcode == 9


def test_start_timeout(way):
    never = threading.Event()
    begin = time.monotonic()
    if way["start" if is_process(way) else "where"] in {"fork", "thread"}:
        recipe, args = never.wait, (1.5,)
    else:
        recipe, args = time.sleep, (60,)
    with pytest.raises(pyroipc.StartupError, match=r"start_timeout=0\.6"):
        pyroipc.spawn(recipe, *args, start_timeout=0.6, **way)
    assert time.monotonic() - begin < PATIENCE


def test_an_object_without_members(way):
    with pytest.raises(pyroipc.PyroError, match="exposes nothing"):
        pyroipc.spawn(object, **way)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_what_cannot_be_pickled(start):
    with pytest.raises(pyroipc.SerializeError, match="lock"):
        pyroipc.spawn(Counter, threading.Lock(), start=start)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_lambdas_and_local_classes(start):
    class Local:
        def name(self):
            return type(self).__name__

    with pyroipc.spawn(lambda: Local(), start=start) as local:
        assert local.name() == "Local"


def test_wrong_words():
    for words in ({"where": "moon"}, {"start": "soon"}):
        with pytest.raises(ValueError, match="is one of"):
            pyroipc.spawn(Counter, **words)


def test_the_thread_gets_the_arguments_themselves():
    given = [1]
    with pyroipc.spawn(Counter, given, where="thread") as counter:
        counter.append(2)
        assert given == [1, 2]


def test_settings_travel(way):
    settings = pyroipc.Settings()
    settings.LOCAL_SERIALIZER = "json"
    settings.DETAILED_TRACEBACK = True
    with pyroipc.spawn(Counter, settings=settings, **way) as counter:
        assert counter.serializer() == "json"
        with pytest.raises(ZeroDivisionError) as caught:
            counter.divide(0)
        assert "EXCEPTION" in "".join(caught.value._pyroTraceback)


def test_close_lets_calls_finish(way):
    with pyroipc.spawn(Counter, **way) as counter:
        call = Worker(counter.slowly, 0.3)
        assert counter.wait_for_begin(PATIENCE)
    assert call.result() == "done"


def test_close_runs_oneway_calls(way, tmp_path):
    path = tmp_path / "lines"
    with pyroipc.spawn(Counter, **way) as counter:
        for number in range(20):
            counter.note(str(path), number)
    assert path.read_text().split() == [str(number) for number in range(20)]


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_close_becomes_rude(start):
    counter = pyroipc.spawn(Counter, start=start)
    call = Worker(counter.slowly, 60)
    assert counter.wait_for_begin(PATIENCE)
    begin = time.monotonic()
    counter.close(timeout=0.5)
    assert time.monotonic() - begin < 2
    assert counter.exitcode == -15
    assert isinstance(call.finish(), pyroipc.ConnectionClosedError)


def test_close_ends_a_child_that_ignores_sigterm():
    counter = pyroipc.spawn(Counter, start="fork")
    counter.ignore_sigterm()
    call = Worker(counter.slowly, 60)
    assert counter.wait_for_begin(PATIENCE)
    counter.close(timeout=0.4)
    assert counter.exitcode == -9
    assert isinstance(call.finish(), pyroipc.ConnectionClosedError)


def test_close_of_a_stopped_child_that_reads_nothing():
    counter = pyroipc.spawn(Counter, start="fork")
    os.kill(counter.pid, 19)
    counter.close(timeout=0.4)
    assert counter.exitcode == -9


def test_close_by_many_threads(way):
    counter = pyroipc.spawn(Counter, **way)
    together(*[counter.close] * 5)
    assert counter.exitcode == (0 if is_process(way) else None)


def test_many_threads_call(way):
    with pyroipc.spawn(Counter, **way) as counter:

        def echo(number):
            for i in range(50):
                assert counter.echo((number, i)) == (number, i)

        together(*[lambda n=n: echo(n) for n in range(8)])


def test_a_dropped_handle_ends_its_child(way):
    counter = pyroipc.spawn(Counter, **way)
    host = counter._pyro_lease.host
    method = counter.add
    del counter
    import gc

    gc.collect()
    assert method(4) == 4  # somebody still uses the child
    del method
    gc.collect()
    assert host.wait(PATIENCE)
    pyroipc.spawn(Counter, where="thread").close()  # reaps what was dropped


def test_auto_says_why(caplog):
    caplog.set_level(logging.INFO, "pyroipc.process")
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pyroipc.spawn(Counter) as counter:
            assert counter.add(1) == 1
    finally:
        release.set()
        thread.join()
    assert "start='auto': spawn, because this process has" in caplog.text


def test_auto_with_one_thread(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr("pyroipc.process.fork.count_threads", lambda: 1)
    assert choose_start()[0] == "fork"
    monkeypatch.setattr("pyroipc.process.fork.count_threads", lambda: 2)
    assert choose_start() == (
        "spawn",
        "this process has 2 threads, some of them not Python's",
    )


def test_spawn_in_a_child():
    with pyroipc.spawn(Counter, start="fork") as counter:
        assert counter.total_of_a_child(5) == 5
    assert counter.exitcode == 0


def test_the_fork_server_is_restarted():
    with pyroipc.spawn(Counter, start="forkserver") as counter:
        server = forkserver._server.process
        os.kill(server.pid, 9)
        assert server.wait(PATIENCE)
        with pyroipc.spawn(Counter, 1, start="forkserver") as other:
            assert other.add(1) == 2
            assert forkserver._server.process.pid != server.pid
        assert counter.add(1) == 1


def test_circumstances_of_a_served_child(monkeypatch, tmp_path):
    with pyroipc.spawn(Counter, start="forkserver"):
        pass  # now there is a server, with the circumstances of this moment
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIRCUMSTANCE", "strange")
    with pyroipc.spawn(Counter, start="forkserver") as counter:
        assert counter.circumstances("CIRCUMSTANCE") == (str(tmp_path), "strange")


def context_switches(pid):
    """Count how often the threads of a process went to sleep, which is how often they woke up."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as status:
            for line in status:
                if line.startswith("voluntary_ctxt_switches:"):
                    count += int(line.split()[1])
    return count


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads Linux's /proc")
def test_an_idle_child_sleeps():
    with pyroipc.spawn(Counter, start="fork") as counter:
        for number in range(200):
            counter.echo(number)
        threading.Event().wait(0.5)  # the stand-by thread looks on for a moment
        before = context_switches(counter.pid)
        threading.Event().wait(1.5)
        assert context_switches(counter.pid) - before <= 10
