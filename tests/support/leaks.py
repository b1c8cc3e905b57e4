"""What a process has: descriptors, threads, children. Taken before and after, compared."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Resources(NamedTuple):
    """What this process has at one moment."""

    descriptors: dict[int, str]
    threads: frozenset[threading.Thread]
    children: dict[int, str]


def resources() -> Resources:
    """Return what this process has now. Children are seen on Linux only."""
    return Resources(_descriptors(), frozenset(threading.enumerate()), _children())


def differences(before: Resources, after: Resources) -> list[str]:
    """Return what has come and what has gone, one line each; empty if all is as it was."""
    found = [
        *_compared("descriptor", before.descriptors, after.descriptors),
        *_compared("child", before.children, after.children),
    ]
    found += [f"new thread: {thread.name}" for thread in after.threads - before.threads]
    return found


def lasting_differences(before: Resources, timeout: float = 5.0) -> list[str]:
    """Return the differences that are still there after at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while found := differences(before, resources()):
        if time.monotonic() > deadline:
            break
        gc.collect()
        pause.wait(0.01)
    return found


def _compared(noun: str, before: dict[int, str], after: dict[int, str]) -> list[str]:
    gone = before.items() - after.items()
    come = after.items() - before.items()
    return [
        *(f"new {noun}: {number} ({what})" for number, what in sorted(come)),
        *(f"missing {noun}: {number} ({what})" for number, what in sorted(gone)),
    ]


def _descriptors() -> dict[int, str]:
    listing = Path("/proc/self/fd") if sys.platform == "linux" else Path("/dev/fd")
    found = {}
    for name in os.listdir(listing):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            status = os.fstat(int(name))
            found[int(name)] = _described(listing / name, status)
    for number in _descriptors_of_multiprocessing():
        found.pop(number, None)
    return found


def _described(link: Path, status: os.stat_result) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return f"device {status.st_dev}, inode {status.st_ino}"


def _children() -> dict[int, str]:
    if sys.platform != "linux":
        return {}
    me = os.getpid()
    helpers = _children_of_multiprocessing()
    found = {}
    for entry in os.listdir(_PROC):
        if not entry.isdigit() or int(entry) in helpers:
            continue
        with contextlib.suppress(OSError):  # it ended in between
            name, _, rest = (_PROC / entry / "stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == me:
                name = name.partition("(")[2]
                found[int(entry)] = f"zombie of {name}" if state == "Z" else name
    return found


# multiprocessing keeps helpers for the rest of the process's life; benchmarks' peers start them.


def _descriptors_of_multiprocessing() -> set[int]:
    tracker, forkserver = _helpers_of_multiprocessing()
    numbers = (
        getattr(tracker, "_fd", None),
        getattr(forkserver, "_forkserver_alive_fd", None),
    )
    return {number for number in numbers if number is not None}


def _children_of_multiprocessing() -> set[int]:
    tracker, forkserver = _helpers_of_multiprocessing()
    pids = (getattr(tracker, "_pid", None), getattr(forkserver, "_forkserver_pid", None))
    return {pid for pid in pids if pid is not None}


def _helpers_of_multiprocessing() -> tuple[object, object]:
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    forkserver = sys.modules.get("multiprocessing.forkserver")
    return getattr(tracker, "_resource_tracker", None), getattr(forkserver, "_forkserver", None)
