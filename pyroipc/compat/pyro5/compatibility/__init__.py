"""``Pyro5.compatibility``: what helped programs for Pyro4 on their way to Pyro5."""
