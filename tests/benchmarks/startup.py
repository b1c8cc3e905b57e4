"""From nothing to the first result, and what ``import pyroipc`` costs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from tests.benchmarks.figures import difference_figure, exact_figure, ratio_figure
from tests.benchmarks.first_results import PATIENCE_SECONDS, STARTERS, starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.benchmarks.efforts import Effort
    from tests.benchmarks.figures import Figure

ROOT = Path(__file__).resolve().parents[2]
UNWANTED = ("asyncio", "ssl", "sqlite3", "multiprocessing")

_STARTS = {
    "fork": ("fork to first result, against mp.Process + Pipe", 1.0),
    "spawn": ("fresh interpreter to first result, against mp.Process (spawn) + Pipe", 0.8),
}
_IMPORTS = (
    "import pyroipc",
    "from pyroipc import *",
    "import multiprocessing.managers",
    "import Pyro4",
    "import Pyro5.api",
    "import rpyc",
)
_IMPORT_GOALS = {"import pyroipc": 12.0}


def measure(effort: Effort) -> list[Figure]:
    """Measure both ways to start a child, the import, and count what it loads."""
    figures = []
    for method, times in (("fork", effort.forks), ("spawn", effort.interpreters)):
        title, goal = _STARTS[method]
        with contextlib.ExitStack() as stack:
            starters = {name: stack.enter_context(starter(name, method)) for name in STARTERS}
            samples = _in_turns(starters, times)
        figures.append(ratio_figure(f"start-{method}", title, goal, samples, unit="ms"))
    return [*figures, *measure_imports(effort.imports), count_modules()]


def measure_imports(times: int) -> list[Figure]:
    """Time imports in fresh interpreters, each beside one that imports nothing."""
    statements = {
        name: name for name in _IMPORTS if _run_statement(name, check=False).returncode == 0
    }
    contestants = {"pass": "pass", **statements}
    samples = _in_turns(
        {name: lambda code=code: _time_statement(code) for name, code in contestants.items()},
        times,
    )
    bare = samples.pop("pass")
    return [
        difference_figure(
            name, f"{name}, over the bare interpreter", _IMPORT_GOALS.get(name), times_ms, bare
        )
        for name, times_ms in samples.items()
    ]


def loaded_modules(statement: str) -> list[str]:
    """Return the modules that a statement loads into a bare interpreter."""
    code = (
        f"before = {{*sys.modules, 'json'}}\n{statement}\n"
        "loaded = sorted({*sys.modules} - before)\nimport json\nprint(json.dumps(loaded))"
    )
    return json.loads(_run_statement(code).stdout)


def count_modules() -> Figure:
    """Count the heavy modules that ``import pyroipc`` loads."""
    loaded = loaded_modules("import pyroipc")
    heavy = [name for name in loaded if name.partition(".")[0] in UNWANTED]
    title = f"modules of {', '.join(UNWANTED)} that import pyroipc loads"
    detail = f"it loads {', '.join(loaded)}"
    return exact_figure("import-modules", title, "modules", 0, len(heavy), detail)


def _in_turns(
    contestants: Mapping[str, Callable[[], float]], times: int
) -> dict[str, list[float]]:
    order = list(contestants)
    samples: dict[str, list[float]] = {name: [] for name in order}
    for call in contestants.values():
        call()
    for _ in range(times):
        for name in order:
            samples[name].append(contestants[name]())
        order.reverse()
    return samples


def _time_statement(statement: str) -> float:
    start = perf_counter()
    _run_statement(statement)
    return (perf_counter() - start) * 1e3


def _run_statement(statement: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{statement}"
    return subprocess.run(
        [sys.executable, "-I", "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=check,
        text=True,
    )
