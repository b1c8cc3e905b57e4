"""Where a name server keeps its names: ``base`` is the contract, ``table`` opens a storage."""
