"""The HTTP gateway: objects that a name server knows, for whoever speaks HTTP and JSON.

``GET /pyro/<name>/<method>?argument=text`` calls a method, and so does a POST with a form or a
JSON object; the answer is JSON. :class:`Gateway` is a WSGI application; :data:`pyro_app` is one
that is ready, whose attributes may be set, as in Pyro.

==============================  ===================================================================
module                          what it looks after
==============================  ===================================================================
``requests``, ``responses``     an HTTP request as plain values; its arguments; answers
``names``, ``origins``          which objects may be called; whose pages may call them
``routes``                      a request into an answer, or into what is to be done for it
``plain``                       values into JSON; what a daemon sends into plain values
``page``                        the home page
``proxies``                     the name server; proxies that are kept
``calls``                       calls by names, and answers that tell how they went
``app``                         WSGI: has done what the routes say
``server``                      a bounded threaded server for it, of the standard library's parts
``launch``                      the command
==============================  ===================================================================

Those down to ``page`` touch nothing outside: no socket, no thread, no clock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.gateway.app import Gateway, pyro_app

__all__ = ["Gateway", "pyro_app"]

if not TYPE_CHECKING:  # importing a pure module of this room must not load the others

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pyroipc.gateway import app

        value = globals()[name] = getattr(app, name)
        return value
