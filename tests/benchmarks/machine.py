"""What the machine is, and whether it was quiet while it was measured."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_STAT = Path("/proc/stat")
_MEMORY = Path("/proc/meminfo")
_IDLE = (3, 4)  # idle, iowait
_STEAL = 7
_LOOK_SECONDS = 0.5
QUIET_SHARE = 0.10


def facts() -> dict[str, object]:
    """Return Python, system, CPUs, and how busy the machine is before we begin."""
    before = cpu_ticks()
    threading.Event().wait(_LOOK_SECONDS)
    after = cpu_ticks()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": usable_cpus(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "busy": _share(before, after, but=_IDLE),
    }


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_bytes() -> int | None:
    """Return how much memory can be taken before others suffer; None where it is not known."""
    try:
        lines = _MEMORY.read_text().splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":") for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024


def cpu_ticks() -> list[int]:
    """Return the ticks of all CPUs since boot, by kind; empty where they are not known."""
    try:
        first = _STAT.read_text().partition("\n")[0]
    except OSError:
        return []
    return [int(ticks) for ticks in first.split()[1:9]]


def stolen_share(before: list[int], after: list[int]) -> float | None:
    """Return the share of the time in which the host gave our CPUs to others."""
    kept = [kind for kind in range(len(before)) if kind != _STEAL]
    return _share(before, after, but=kept)


def complaints(machine: dict[str, object]) -> list[str]:
    """Return why the figures are to be doubted, as far as the machine knows."""
    found = []
    if (machine["busy"] or 0) > QUIET_SHARE:
        found.append(f"the machine was {machine['busy']:.0%} busy before the run began")
    if (machine.get("stolen") or 0) > QUIET_SHARE:
        found.append(f"the host took away {machine['stolen']:.0%} of the CPU time")
    return found


def _share(before: list[int], after: list[int], *, but: Container[int]) -> float | None:
    spent = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(spent)
    if not total:
        return None
    return sum(ticks for kind, ticks in enumerate(spent) if kind not in but) / total
