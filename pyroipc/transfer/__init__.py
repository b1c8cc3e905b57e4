"""Files over a connection: served from one directory, fetched and sent piece by piece.

``serving`` is the object that a daemon hosts, ``fetching`` and ``sending`` are the functions at
the other end, ``confined`` finds files below a directory and nowhere else, ``partial`` keeps
what has arrived of a file until it is complete, and ``copying`` has the kernel copy between two
files.
"""
