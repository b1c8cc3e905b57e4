"""``Pyro5.compatibility.Pyro4``: the shim of Pyro4 itself, and ``import Pyro4`` means it, too.

Pyro5's own module of this name gives a part of Pyro4; here there is all of it.
"""

from __future__ import annotations

import sys

from pyroipc.compat import pyro4
from pyroipc.compat.aliases import install_as

install_as("Pyro4")
sys.modules[__name__] = pyro4
