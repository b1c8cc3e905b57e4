"""Programs written for Pyro4 or Pyro5, on pyroipc, with one changed import or none.

Three ways, for users:

* ``pyroipc.compat.install_as("Pyro5")``, before the first ``import Pyro5``: from then on the old
  imports give what is here. ``install_as("Pyro4")`` likewise; both may be on at once.
* ``from pyroipc.compat import Pyro5``, ``import pyroipc.compat.pyro5.api``: the same modules,
  under their own names.
* ``python -m pyroipc.compat Pyro5 program.py arguments``: a program without one changed line.

The contract, for the shims in here:

* The shim of ``Pyro4`` is the package ``pyroipc.compat.pyro4``, that of ``Pyro5`` is
  ``pyroipc.compat.pyro5``; a module ``Pyro4.x.y`` is the file ``pyro4/x/y.py``. There is no list
  of modules: what has a file has an old name, and what has none raises ModuleNotFoundError, even
  if the real package has it.
* One module object has both names. Its ``__name__`` is the new one, so classes pickle under it,
  and ``importlib.reload`` reloads it under it. Inside a shim all imports use the new names
  (``from pyroipc.compat.pyro4 import core``), and nothing in a shim may ask ``__name__`` for the
  old one. What a program prints or sends as a class name is set explicitly.
* A shim's ``__init__`` imports as little as it can; a name that costs is fetched by a module
  ``__getattr__`` (PEP 562) when it is first used. ``import Pyro5.api`` is paid for at each start.
* A module with an entry point ends in ``if __name__ == "__main__": main()``, so that
  ``python -m pyroipc.compat.pyro4.naming`` is what ``python -m Pyro4.naming`` was.
* ``config`` of a shim is a subclass of :class:`pyroipc.compat.views.ConfigView`, made by
  ``on_config()``: a view on ``pyroipc.config``, never a copy. Its ``_dialect`` is what the
  proxies of such a program speak, with everybody: values then become what they always became.
* Classes are pyroipc's own, or thin subclasses where a program can see a difference. What is
  deliberately different raises an error that says what to do instead.
* What both shims need stands beside them, in this directory, with neutral names, and each shim
  gives it the old ones: ``views`` (config), ``locations`` (URI), ``daemons`` (what registering
  adds to an object, ``proxyFor`` with an address, ``objectsById``, ``serve``), ``sockets``
  (functions on sockets, ``SocketConnection``), ``codecs`` (serializer objects with ``dumps``,
  ``dumpsCall``, ..., and the registries of classes), ``nameservers`` (its daemon, the lines it
  prints), ``ns_commands`` (``nsc``).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.compat import pyro4 as Pyro4  # noqa: N812 - the old names are the point
    from pyroipc.compat import pyro5 as Pyro5  # noqa: N812
    from pyroipc.compat.aliases import install_as

__all__ = ["Pyro4", "Pyro5", "install_as"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name == "install_as":
            value = import_module("pyroipc.compat.aliases").install_as
        elif name in {"Pyro4", "Pyro5"}:
            value = import_module(f"pyroipc.compat.{name.lower()}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
