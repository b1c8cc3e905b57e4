"""Channels: bytes to the kernel and back.

A channel is a connected stream with typed facts about its peer. This is the only room that
knows sockets, and the only one that renames ``OSError``.
"""
