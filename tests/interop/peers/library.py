"""Pyro4, Pyro5 and pyroipc under the same few names, so that one scenario runs with each of them.

A process that plays Pyro4 or Pyro5 imports nothing of pyroipc: nothing here does, either.
"""

from __future__ import annotations

import importlib
import warnings

PYRO4, PYRO5, OURS = "Pyro4", "Pyro5", "pyroipc"
SERIALIZERS = ("serpent", "json", "marshal", "msgpack")
KEY = "a secret of both ends"


class Library:
    """One of the three; ``name`` is its name."""

    def __init__(self, name):
        self.name = name
        if name != OURS:
            warnings.simplefilter("ignore")  # Pyro4 uses what newer Pythons do not like
        api = importlib.import_module({PYRO5: "Pyro5.api"}.get(name, name))
        errors = importlib.import_module({OURS: "pyroipc"}.get(name, f"{name}.errors"))
        self.api = api
        self.errors = errors
        self.config = api.config
        self.context = api.current_context
        self.Daemon = api.Daemon
        self.Proxy = api.Proxy
        self.URI = api.URI
        self.behavior = api.behavior
        self.callback = api.callback
        self.expose = api.expose
        self.oneway = api.oneway
        for attribute, value in _PARTS[name](api, errors).items():
            setattr(self, attribute, value)

    def proxy(self, uri, serializer=None, **attributes):
        """Make a proxy; ``attributes`` are those of Pyro, without the prefix."""
        proxy = self.Proxy(uri)
        if serializer is not None:
            proxy._pyroSerializer = serializer
        for name, value in attributes.items():
            setattr(proxy, f"_pyro{name}", value)
        return proxy

    def connected_proxy(self, object_id, sock, serializer):
        """Make a proxy over a connected socket; those of Pyro ask the server at once."""
        before = self.config.SERIALIZER
        self.config.SERIALIZER = serializer
        try:
            proxy = self.Proxy(object_id, connected_socket=sock)
        finally:
            self.config.SERIALIZER = before
        proxy._pyroSerializer = serializer
        return proxy

    def forget_context(self):
        """Send nothing with the next calls."""
        self.context.annotations = {}
        self.context.response_annotations = {}
        self.context.correlation_id = None

    def register_class(self, cls, name, to_dict, from_dict):
        """Have a class travel as a dict."""
        self.register_class_to_dict(cls, to_dict)
        self.register_dict_to_class(name, from_dict)

    def unregister_class(self, cls, name):
        """Have it travel as others do."""
        self.unregister_class_to_dict(cls)
        self.unregister_dict_to_class(name)


def _pyro4(api, errors):
    from Pyro4.core import SerializedBlob
    from Pyro4.util import SerializerBase, getPyroTraceback

    # So that all of its serializers can be tried; a user has to do that, too.
    api.config.SERIALIZERS_ACCEPTED = {*SERIALIZERS, "pickle"}
    return {
        "batch": api.batch,
        "SerializedBlob": SerializedBlob,
        "traceback_of": lambda error: "".join(
            getPyroTraceback(type(error), error, error.__traceback__)
        ),
        "register_class_to_dict": SerializerBase.register_class_to_dict,
        "register_dict_to_class": SerializerBase.register_dict_to_class,
        "unregister_class_to_dict": SerializerBase.unregister_class_to_dict,
        "unregister_dict_to_class": SerializerBase.unregister_dict_to_class,
    }


def _pyro5(api, errors):
    return {
        "batch": api.BatchProxy,
        "SerializedBlob": api.SerializedBlob,
        "traceback_of": lambda error: "".join(
            errors.get_pyro_traceback(type(error), error, error.__traceback__)
        ),
        "register_class_to_dict": api.register_class_to_dict,
        "register_dict_to_class": api.register_dict_to_class,
        "unregister_class_to_dict": api.unregister_class_to_dict,
        "unregister_dict_to_class": api.unregister_dict_to_class,
    }


def _ours(api, errors):
    return {
        "batch": api.BatchProxy,
        "SerializedBlob": api.SerializedBlob,
        "traceback_of": lambda error: "".join(
            api.get_pyro_traceback(type(error), error, error.__traceback__)
        ),
        "register_class_to_dict": api.register_class_to_dict,
        "register_dict_to_class": api.register_dict_to_class,
        "unregister_class_to_dict": api.unregister_class_to_dict,
        "unregister_dict_to_class": api.unregister_dict_to_class,
    }


_PARTS = {PYRO4: _pyro4, PYRO5: _pyro5, OURS: _ours}
