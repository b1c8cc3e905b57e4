"""Call Python objects in child processes, threads and other machines as if they were here.

The names below are the public ones. Each is imported from its room when it is first used, so
that ``import pyroipc`` costs next to nothing. There is no logic here; see the rooms.
"""

from __future__ import annotations

from os import environ as _environ

# Loaded right away, and next to nothing: a process must know its own descent before it forks.
from pyroipc.serializers import main_names as _main_names  # noqa: F401

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.client.batch import BatchProxy, BatchResults, batch
    from pyroipc.client.futures import Future, FutureResult, asyncproxy
    from pyroipc.client.handles import Descriptor
    from pyroipc.client.proxy import Proxy
    from pyroipc.client.shared import SharedBuffer, shared_array, shared_buffer, shared_owner
    from pyroipc.client.streams import RemoteIterator
    from pyroipc.context import current_context
    from pyroipc.errors import (
        BusyError,
        CommunicationError,
        ConnectError,
        ConnectionClosedError,
        DaemonError,
        DeadlockError,
        DigestMismatchError,
        DiskFullError,
        DrainingError,
        FileChangedError,
        ForkedConnectionError,
        MessageTooLargeError,
        NamingError,
        PeerDiedError,
        ProtocolError,
        PyroError,
        RemoteError,
        SecurityError,
        SerializeError,
        StartupError,
        TimeoutError,
        TransferError,
        VersionMismatchError,
    )
    from pyroipc.naming.client import locate_ns, lookup, resolve, type_meta, yplookup
    from pyroipc.naming.launch import start_ns, start_ns_loop
    from pyroipc.naming.leases import Publication, publish
    from pyroipc.process.spawning import spawn
    from pyroipc.protocol.blobs import SerializedBlob
    from pyroipc.protocol.remote_errors import excepthook, format_traceback, get_pyro_traceback
    from pyroipc.serializers.classes import (
        register_class_to_dict,
        register_dict_to_class,
        unregister_class_to_dict,
        unregister_dict_to_class,
    )
    from pyroipc.serializers.typed_classes import register_class, unregister_class
    from pyroipc.server.daemon import Daemon, DaemonObject, serve
    from pyroipc.server.exposure import behavior, callback, expose, oneway
    from pyroipc.settings import Settings, config
    from pyroipc.transfer.fetching import fetch_file
    from pyroipc.transfer.sending import send_file
    from pyroipc.transfer.serving import FileServer
    from pyroipc.uri import URI

__version__ = "0.1.0"

__all__ = [
    "URI",
    "BatchProxy",
    "BatchResults",
    "BusyError",
    "CommunicationError",
    "ConnectError",
    "ConnectionClosedError",
    "Daemon",
    "DaemonError",
    "DaemonObject",
    "DeadlockError",
    "Descriptor",
    "DigestMismatchError",
    "DiskFullError",
    "DrainingError",
    "FileChangedError",
    "FileServer",
    "ForkedConnectionError",
    "Future",
    "FutureResult",
    "MessageTooLargeError",
    "NamingError",
    "PeerDiedError",
    "ProtocolError",
    "Proxy",
    "Publication",
    "PyroError",
    "RemoteError",
    "RemoteIterator",
    "SecurityError",
    "SerializeError",
    "SerializedBlob",
    "Settings",
    "SharedBuffer",
    "StartupError",
    "TimeoutError",
    "TransferError",
    "VersionMismatchError",
    "__version__",
    "asyncproxy",
    "batch",
    "behavior",
    "callback",
    "config",
    "current_context",
    "excepthook",
    "expose",
    "fetch_file",
    "format_traceback",
    "get_pyro_traceback",
    "locate_ns",
    "lookup",
    "oneway",
    "publish",
    "register_class",
    "register_class_to_dict",
    "register_dict_to_class",
    "resolve",
    "send_file",
    "serve",
    "shared_array",
    "shared_buffer",
    "shared_owner",
    "spawn",
    "start_ns",
    "start_ns_loop",
    "type_meta",
    "unregister_class",
    "unregister_class_to_dict",
    "unregister_dict_to_class",
    "yplookup",
]

_WHERE = {
    "BatchProxy": "pyroipc.client.batch:BatchProxy",
    "BatchResults": "pyroipc.client.batch:BatchResults",
    "BusyError": "pyroipc.errors:BusyError",
    "CommunicationError": "pyroipc.errors:CommunicationError",
    "ConnectError": "pyroipc.errors:ConnectError",
    "ConnectionClosedError": "pyroipc.errors:ConnectionClosedError",
    "Daemon": "pyroipc.server.daemon:Daemon",
    "DaemonError": "pyroipc.errors:DaemonError",
    "DaemonObject": "pyroipc.server.daemon:DaemonObject",
    "DeadlockError": "pyroipc.errors:DeadlockError",
    "Descriptor": "pyroipc.client.handles:Descriptor",
    "DigestMismatchError": "pyroipc.errors:DigestMismatchError",
    "DiskFullError": "pyroipc.errors:DiskFullError",
    "DrainingError": "pyroipc.errors:DrainingError",
    "FileChangedError": "pyroipc.errors:FileChangedError",
    "FileServer": "pyroipc.transfer.serving:FileServer",
    "ForkedConnectionError": "pyroipc.errors:ForkedConnectionError",
    "Future": "pyroipc.client.futures:Future",
    "FutureResult": "pyroipc.client.futures:FutureResult",
    "MessageTooLargeError": "pyroipc.errors:MessageTooLargeError",
    "NamingError": "pyroipc.errors:NamingError",
    "PeerDiedError": "pyroipc.errors:PeerDiedError",
    "ProtocolError": "pyroipc.errors:ProtocolError",
    "Proxy": "pyroipc.client.proxy:Proxy",
    "Publication": "pyroipc.naming.leases:Publication",
    "PyroError": "pyroipc.errors:PyroError",
    "RemoteError": "pyroipc.errors:RemoteError",
    "RemoteIterator": "pyroipc.client.streams:RemoteIterator",
    "SecurityError": "pyroipc.errors:SecurityError",
    "SerializeError": "pyroipc.errors:SerializeError",
    "SerializedBlob": "pyroipc.protocol.blobs:SerializedBlob",
    "Settings": "pyroipc.settings:Settings",
    "SharedBuffer": "pyroipc.client.shared:SharedBuffer",
    "StartupError": "pyroipc.errors:StartupError",
    "TimeoutError": "pyroipc.errors:TimeoutError",
    "TransferError": "pyroipc.errors:TransferError",
    "URI": "pyroipc.uri:URI",
    "VersionMismatchError": "pyroipc.errors:VersionMismatchError",
    "asyncproxy": "pyroipc.client.futures:asyncproxy",
    "batch": "pyroipc.client.batch:batch",
    "behavior": "pyroipc.server.exposure:behavior",
    "callback": "pyroipc.server.exposure:callback",
    "config": "pyroipc.settings:config",
    "current_context": "pyroipc.context:current_context",
    "excepthook": "pyroipc.protocol.remote_errors:excepthook",
    "fetch_file": "pyroipc.transfer.fetching:fetch_file",
    "send_file": "pyroipc.transfer.sending:send_file",
    "expose": "pyroipc.server.exposure:expose",
    "format_traceback": "pyroipc.protocol.remote_errors:format_traceback",
    "get_pyro_traceback": "pyroipc.protocol.remote_errors:get_pyro_traceback",
    "locate_ns": "pyroipc.naming.client:locate_ns",
    "lookup": "pyroipc.naming.client:lookup",
    "oneway": "pyroipc.server.exposure:oneway",
    "publish": "pyroipc.naming.leases:publish",
    "register_class": "pyroipc.serializers.typed_classes:register_class",
    "register_class_to_dict": "pyroipc.serializers.classes:register_class_to_dict",
    "register_dict_to_class": "pyroipc.serializers.classes:register_dict_to_class",
    "resolve": "pyroipc.naming.client:resolve",
    "serve": "pyroipc.server.daemon:serve",
    "shared_array": "pyroipc.client.shared:shared_array",
    "shared_buffer": "pyroipc.client.shared:shared_buffer",
    "shared_owner": "pyroipc.client.shared:shared_owner",
    "spawn": "pyroipc.process.spawning:spawn",
    "start_ns": "pyroipc.naming.launch:start_ns",
    "start_ns_loop": "pyroipc.naming.launch:start_ns_loop",
    "type_meta": "pyroipc.naming.client:type_meta",
    "unregister_class": "pyroipc.serializers.typed_classes:unregister_class",
    "unregister_class_to_dict": "pyroipc.serializers.classes:unregister_class_to_dict",
    "unregister_dict_to_class": "pyroipc.serializers.classes:unregister_dict_to_class",
    "yplookup": "pyroipc.naming.client:yplookup",
}

if not TYPE_CHECKING:  # a type checker must not take this for "any name at all exists here"

    def __getattr__(name: str) -> object:
        where = _WHERE.get(name)
        if where is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module_name, _, attribute = where.partition(":")
        # Not importlib.import_module: importing importlib itself would be paid for by every child.
        module = __import__(module_name, fromlist=(attribute,))
        value = globals()[name] = getattr(module, attribute)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "PYRO_LOGFILE" in _environ or "PYRO_LOGLEVEL" in _environ:
    from pyroipc.logs import configure_from_environment as _configure

    _configure()
