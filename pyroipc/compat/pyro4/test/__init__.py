"""``Pyro4.test``: an echo server."""
