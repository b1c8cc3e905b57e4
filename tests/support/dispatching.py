"""A dispatcher of one conversation, without a connection."""

from __future__ import annotations

import threading

from pyroipc.server.dispatcher import Dispatcher, Instances
from pyroipc.server.registry import Registry


def instances():
    return Instances(threading.RLock)


def dispatcher_of(registry):
    return Dispatcher(registry, instances(), instances())


def dispatcher_for(target, **options):
    """A dispatcher that knows one object, ``"it"``."""
    registry = Registry()
    registry.register(target, "it", **options)
    return dispatcher_of(registry)


def find(target, name, **options):
    return dispatcher_for(target, **options).find("it", name)


def read(target, name, **options):
    return find(target, "__getattr__", **options)(name)


def write(target, name, value, **options):
    return find(target, "__setattr__", **options)(name, value)
