"""Loops: who waits for requests, and on which thread the user's methods run."""
