"""Serving peers that are Pyro4 or Pyro5."""
