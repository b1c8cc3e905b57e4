"""``Pyro5.callcontext``: what is known about the call that runs, or is about to be made."""

from __future__ import annotations

from pyroipc.context import current_context

__all__ = ["current_context"]
