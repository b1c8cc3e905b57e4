"""How much hypothesis tries: a share that fits into every run, or all of it.

``PYROIPC_SEARCH=1`` looks for new examples, and for as many as the tests name; without it the
examples are always the same, and fewer.
"""

from __future__ import annotations

import math
import os
from typing import Any

from hypothesis import settings

SEARCHING = bool(os.environ.get("PYROIPC_SEARCH"))
USUAL_SHARE = 0.4
"""Of the examples that a search tries, what every other run tries."""


def share(count: int) -> int:
    """Return how many of ``count`` examples this run tries."""
    return count if SEARCHING else math.ceil(count * USUAL_SHARE)


def examples(count: int, **options: Any) -> settings:
    """Return the settings of a test for which a search makes ``count`` examples."""
    return settings(max_examples=share(count), **options)
