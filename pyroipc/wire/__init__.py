"""Bytes to messages and back, without I/O.

One :class:`~pyroipc.wire.message.Message` shape serves every dialect; a dialect is one module.
Nothing here knows sockets, threads or clocks, nor what a payload means.
"""
