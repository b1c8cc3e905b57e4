"""Objects <-> payload bytes: one plug-in per format, found through ``table``.

``base`` is the contract, ``table`` finds a plug-in by name or id and imports it only then,
``classes`` and ``exceptions`` turn class instances into dicts and back for the formats that
know only plain data.  Nothing is imported here: a process pays for the formats it uses.
"""
