"""The programs in the documentation run, and print what the pages say."""

from __future__ import annotations

import pytest

from tests.support.pages import DOCS, blocks, matches, programs
from tests.support.snippets import run_python, run_script

PROGRAMS = programs()


def test_there_are_programs():
    assert {program.page for program in PROGRAMS} >= {
        "tutorial/child-process.md",
        "howto/fork-by-hand.md",
    }


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.page}:{program.name}")
def test_program(program, tmp_path):
    path = tmp_path / f"{program.name}.py"
    path.write_text(program.code, encoding="utf-8")
    finished = run_script(path, timeout=30, cwd=tmp_path)
    assert finished.stderr == ""
    assert finished.returncode == 0
    assert matches(finished.stdout, program.output), finished.stdout


COUNT_FRAMES = """
    import socket, sys, threading
    from collections import Counter
    import pyroipc

    class Watch:
        def __init__(self):
            self.names = []

        def __call__(self, frame, event, _):
            if event == "call":
                room = frame.f_globals["__name__"].split(".")
                self.names.append((frame.f_code.co_qualname, room[1] if len(room) > 2 else ""))

    @pyroipc.expose
    class Echo:
        def begin(self):
            self.watch = Watch()
            sys.setprofile(self.watch)

        def end(self):
            sys.setprofile(None)
            return self.watch.names

        def echo(self, value):
            return value

    near, far = socket.socketpair()
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(Echo(), "echo")
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    proxy = pyroipc.Proxy("echo", connected_socket=near)
    begin, echo, end = proxy.begin, proxy.echo, proxy.end
    for _ in range(20):
        echo(42)
    caller, host = Counter(), Counter()
    for _ in range(9):  # a stand-by thread that takes over spoils one try
        watch = Watch()
        sys.setprofile(watch)
        echo(42)
        sys.setprofile(None)
        caller[tuple(watch.names)] += 1
        begin()
        echo(42)
        echo(42)
        names = end()
        starts = [i for i, (name, _) in enumerate(names) if name == "ConnectedLoop._receive"]
        if len(starts) > 1:
            host[tuple(names[starts[0]:starts[1]])] += 1
    daemon.shutdown()
    thread.join()
    near.close()
    far.close()
    for counter in (caller, host):
        for name, room in counter.most_common(1)[0][0]:
            print(name, room)
        print()
"""


def test_frames_of_a_call():
    """The page about the road of a call names the frames that there are. If not: write these."""
    page = "topics/how-a-call-travels.md"
    finished = run_python(COUNT_FRAMES)
    assert finished.stderr == ""
    caller, host = (text.splitlines() for text in finished.stdout.strip().split("\n\n"))
    documented = blocks(page, "frames")
    assert frames_of(documented["caller"]) == [line.strip() for line in caller]
    assert frames_of(documented["daemon"]) == [line.strip() for line in host]
    text = (DOCS / page).read_text("utf-8")
    sums = f"{len(caller)} frames and {len(host)}, {len(caller) + len(host)} together"
    assert sums in text, f"the page says nothing of {sums}"


def frames_of(block: str) -> list[str]:
    """Read lines of a frame, the room if it is one of ours, and a remark."""
    found = []
    for line in block.splitlines():
        frame, room, *_ = [*line.split(), ""]
        found.append(frame if line[36:37] == " " else f"{frame} {room}")
    return found
