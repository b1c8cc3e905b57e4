"""The hosting side: which objects and members can be called, and the loops that call them."""
