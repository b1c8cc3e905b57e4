"""How many bytes per second go from a parent to a forked child, against how many at a time.

Each call passes ``bytes`` as an argument and waits for a small answer. The upper limit is a copy
of the same bytes into memory that was used before.
"""

from __future__ import annotations

import contextlib

from tests.benchmarks.bulk import huge, over_tcp, piped, piped_over_tcp, spawned
from tests.benchmarks.lumps import Lump, is_installed, lumps_in_turns
from tests.benchmarks.machine import available_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from tests.benchmarks.efforts import Effort

    Send = Callable[[bytes], object]

MIN_BYTES = 1 << 10
LIMIT = "memcpy, warm memory"
_LUMP_BYTES = 64 << 10
_COPIES = 8
"""How many times the largest size has to fit into memory, for both ends and all copies."""


@contextlib.contextmanager
def _method(proxy: AbstractContextManager[Any]) -> Iterator[Send]:
    with proxy as host:
        yield host.take


CONTESTANTS: dict[str, Callable[[], AbstractContextManager[Send]]] = {
    "pyroipc, socket pair, pickle": lambda: _method(spawned()),
    "pyroipc, TCP, msgpack": lambda: _method(over_tcp()),
    "multiprocessing.Pipe": piped,
    "multiprocessing.connection, TCP": piped_over_tcp,
    "Pyro5, socket pair, msgpack": lambda: huge("Pyro5.api"),
}


def sizes(max_bytes: int) -> list[int]:
    """Return the powers of four up to a size, as far as there is memory."""
    available = available_bytes()
    if available is not None:
        max_bytes = min(max_bytes, available // _COPIES)
    found = [MIN_BYTES]
    while found[-1] * 4 <= max_bytes:
        found.append(found[-1] * 4)
    return found


def measure(effort: Effort) -> dict[str, dict[str, list[float]]]:
    """Return, for each size and each contestant that is installed, µs of a call per round."""
    n_bytes = sizes(effort.throughput.max_bytes)
    with contextlib.ExitStack() as stack:
        sends = {
            name: stack.enter_context(make())
            for name, make in CONTESTANTS.items()
            if is_installed(name)
        }
        sends = {LIMIT: _copying(n_bytes[-1]), **sends}
        lumps = {
            (size, name): _lump(send, payload)
            for size, payload in ((size, b"x" * size) for size in n_bytes)
            for name, send in sends.items()
        }
        samples = lumps_in_turns(lumps, effort.throughput.rounds, effort.segment_seconds)
    return {str(size): {name: samples[size, name] for name in sends} for size in n_bytes}


def _copying(max_bytes: int) -> Send:
    target = memoryview(bytearray(max_bytes))

    def copy(value: bytes) -> int:
        target[: len(value)] = value
        return len(value)

    return copy


def _lump(send: Send, payload: bytes) -> Lump:
    times = max(_LUMP_BYTES // len(payload), 1)
    size = len(payload)

    def run() -> None:
        for _ in range(times):
            assert send(payload) == size

    return Lump(run, times)
