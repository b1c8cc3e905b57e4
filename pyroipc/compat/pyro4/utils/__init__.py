"""``Pyro4.utils``: Flame, and the gateway for HTTP."""
