"""``Pyro5.utils``: an echo server and a gateway for HTTP, as modules to be run."""
