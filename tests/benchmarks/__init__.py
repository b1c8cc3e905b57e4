"""Timings side by side with what people use instead: ``python -m tests.benchmarks``.

Each figure is a ratio of two things that were measured in turns, in one run, on one machine.
Nothing here fails because something was slow; the only budget that a test holds is the exact
number of Python frames of a call.
"""
