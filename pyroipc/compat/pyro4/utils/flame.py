"""``Pyro4.utils.flame``: everything that a process can do, for another process that is trusted.

Whoever can call Flame can run any code with the rights of this process. So it is served only where
the operating system vouches for the caller: over a connected socket, or over a unix socket, to a
process of the same user on this machine. Each call is looked at again. And FLAME_ENABLED must be
switched on.

What is sent travels as pickle, whatever SERIALIZER says, and in the native dialect: in that a
console can be called that has no address, because its daemon serves a connected socket.
"""

from __future__ import annotations

import builtins
import code
import importlib
import inspect
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from types import ModuleType

from pyroipc.compat.pyro4 import constants, core, errors
from pyroipc.compat.pyro4.configuration import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self

    from pyroipc.uri import URI

__all__ = ["Flame", "connect", "createModule", "start"]

_PICKLE = "pickle"


# --------------------------------------------------------------------------- starting and finding


def start(daemon: core.Daemon) -> URI:
    """Register Flame in a daemon that only local processes of the same user can reach.

    Returns:
        Its URI.

    Raises:
        SecurityError: FLAME_ENABLED is off, or others could reach the daemon.
    """
    if not config.FLAME_ENABLED:
        raise errors.SecurityError("Flame is disabled in the server configuration")
    places = [str(location) for location in daemon.locations if not location.is_unix]
    if places:
        raise errors.SecurityError(
            f"Flame is not started for a daemon at {', '.join(places)}, on purpose: its callers "
            "can run any code, and over TCP nobody vouches for them. Give it a unix socket, "
            "Daemon(unixsocket=...), or a connected socket"
        )
    return daemon.register(Flame(), constants.FLAME_NAME)


def connect(location: str | socket.socket, hmac_key: bytes | str | None = None) -> Any:
    """Return a proxy for the Flame of another process, which is connected.

    Args:
        location: where its daemon listens, such as ``"./u:/run/my.sock"``; or a connected socket.
        hmac_key: what it wants to know.

    Raises:
        CommunicationError: it cannot be reached.
        SecurityError: it is not on this machine, or is another user's.
    """
    proxy: core.Proxy[Any]
    if isinstance(location, str):
        proxy = core.Proxy(f"PYRO:{constants.FLAME_NAME}@{location}", dialect="auto")
        if hmac_key:
            proxy._pyroHmacKey = hmac_key
    else:
        proxy = core.Proxy(constants.FLAME_NAME, connected_socket=location, dialect="auto")
    proxy._pyroSerializer = _PICKLE
    proxy._pyroBind()
    return proxy


def createModule(
    name: str,
    source: str,
    filename: str = "<dynamic-module>",
    namespace: dict[str, Any] | None = None,
) -> ModuleType:
    """Make a module out of its source, and put it where ``import`` finds it.

    Args:
        name: its name, with dots for one in a package; missing packages are made.
        source: its source.
        filename: what tracebacks say.
        namespace: such as ``globals()``: the module, or its package, gets its name there.

    Returns:
        The module.
    """
    parent: ModuleType | None = None
    module = ModuleType(name)
    parts = name.split(".")
    for number, part in enumerate(parts, 1):
        path = ".".join(parts[:number])
        if path == name:
            found = module
        else:
            found = sys.modules.get(path) or ModuleType(path)
            found.__dict__.setdefault("__path__", [])
        sys.modules[path] = found
        if parent is not None:
            setattr(parent, part, found)
        parent = found
    try:
        exec_function(source, filename, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    if namespace is not None:
        namespace[parts[0]] = sys.modules[parts[0]]
    return module


def fixExecSourceNewlines(source: str) -> str:
    """Return source with line ends that Python takes, and a last one."""
    return source.replace("\r\n", "\n").rstrip() + "\n"


def exec_function(source: str, filename: str, global_map: dict[str, Any]) -> None:
    """Run source in a namespace."""
    exec(compile(fixExecSourceNewlines(source), filename, "exec"), global_map)  # noqa: S102


def _check_caller() -> None:
    """See that the running call comes from a process that may do anything.

    Raises:
        SecurityError: it does not.
    """
    client = core.current_context.client
    if not config.FLAME_ENABLED:
        raise errors.SecurityError("Flame is disabled in the server configuration")
    if client is not None and not client.peer.trusted:
        raise errors.SecurityError(
            f"Flame serves only processes of the same user on this machine: {client.peer.reason}"
        )


# ------------------------------------------------------------------------------------ the object


@core.expose
class Flame:
    """The object ``Pyro.Flame``."""

    def __init__(self) -> None:
        _check_caller()
        self._namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": "flame"}

    def module(self, name: str) -> FlameModule:
        """Return what calls the functions of a module of this process."""
        _check_caller()
        importlib.import_module(name)
        return FlameModule(self, name)

    def builtin(self, name: str) -> FlameBuiltin:
        """Return what calls a builtin function in this process."""
        _check_caller()
        return FlameBuiltin(self, name)

    def execute(self, code: str) -> None:
        """Run code; what it defines is there for the next code, too."""
        _check_caller()
        exec_function(code, "<remote-code>", self._namespace)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression."""
        _check_caller()
        return eval(expression, self._namespace)  # noqa: S307

    def sendmodule(self, modulename: str, modulesource: str) -> None:
        """Make a module out of its source."""
        _check_caller()
        createModule(modulename, modulesource)

    def getmodule(self, modulename: str) -> str:
        """Return the source of a module."""
        _check_caller()
        return inspect.getsource(importlib.import_module(modulename))

    def sendfile(self, filename: str, filedata: bytes) -> None:
        """Write a file; nobody but the user of this process can read it."""
        _check_caller()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(filename, flags, 0o600), "wb") as file:
            file.write(filedata)

    def getfile(self, filename: str) -> bytes:
        """Return what is in a file."""
        _check_caller()
        with open(filename, "rb") as file:
            return file.read()

    def console(self) -> RemoteInteractiveConsole:
        """Return an interactive console that runs in this process."""
        _check_caller()
        console = InteractiveConsole(filename="<remote-console>")
        core.current_context.daemon.register(console)
        return RemoteInteractiveConsole(console)

    def invokeBuiltin(self, builtin: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a builtin function."""
        _check_caller()
        return getattr(builtins, builtin)(*args, **kwargs)

    def invokeModule(self, dottedname: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call what a name with dots leads to: modules first, then their attributes.

        Raises:
            ModuleNotFoundError: it does not begin with a module.
        """
        _check_caller()
        parts = dottedname.split(".")
        found: Any = importlib.import_module(parts[0])
        for number, part in enumerate(parts[1:], 2):
            if not hasattr(found, part) and hasattr(found, "__path__"):
                importlib.import_module(".".join(parts[:number]))
            found = getattr(found, part)
        return found(*args, **kwargs)


# --------------------------------------------------------------- what stands for things over there


class _Remote:
    """Something of another process; it keeps a proxy of the Flame there."""

    def __init__(self, flameserver: Any) -> None:
        self.flameserver = flameserver

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.flameserver._pyroSerializer = _PICKLE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flameserver._pyroRelease()


class FlameBuiltin(_Remote):
    """A builtin function of another process, to be called.

    Args:
        flameserver: the Flame there.
        builtin: its name.
    """

    def __init__(self, flameserver: Any, builtin: str) -> None:
        super().__init__(flameserver)
        self.builtin = builtin

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self.flameserver.invokeBuiltin(self.builtin, args, kwargs)

    def __repr__(self) -> str:
        return f"<FlameBuiltin {self.builtin!r}>"


class FlameModule(_Remote):
    """A module of another process; what is in it can be called, by names with dots.

    Args:
        flameserver: the Flame there.
        module: the name of the module.
    """

    def __init__(self, flameserver: Any, module: str) -> None:
        super().__init__(flameserver)
        self.module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"flameserver", "module"}:
            raise AttributeError(name)
        return _Dotted(self.flameserver.invokeModule, f"{self.module}.{name}")

    def __repr__(self) -> str:
        return f"<FlameModule {self.module!r}>"


class _Dotted:
    """A name with dots in another process: to be called, or to have one more part."""

    def __init__(self, invoke: Callable[..., Any], name: str) -> None:
        self._invoke = invoke
        self._name = name

    def __getattr__(self, name: str) -> _Dotted:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Dotted(self._invoke, f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._invoke(self._name, args, kwargs)


# ----------------------------------------------------------------------------------- the console


@core.expose
class InteractiveConsole(code.InteractiveConsole):
    """A console that is told its lines by another process, and tells it what they print."""

    def push_and_get_output(self, line: str) -> tuple[str, bool]:
        """Run a line; return what it has printed, and whether more lines are wanted."""
        _check_caller()
        printed = StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            more = self.push(line)
        return printed.getvalue(), more

    def write(self, data: str) -> None:
        """Print what the console itself has to say, such as a traceback."""
        sys.stdout.write(data)

    def get_banner(self) -> str:
        """Return what a console says first."""
        _check_caller()
        return (
            f"Python {sys.version} on {sys.platform}\n"
            f"(Remote console on {socket.gethostname()}, process {os.getpid()})"
        )

    def terminate(self) -> None:
        """Let the console go."""
        _check_caller()
        core.current_context.daemon.unregister(self)
        self.resetbuffer()


class RemoteInteractiveConsole:
    """A console of another process, at this terminal.

    Args:
        remoteconsoleuri: the URI of an :class:`InteractiveConsole`, or a proxy for it.
    """

    class LineSendingConsole(code.InteractiveConsole):
        """A console that has its lines run elsewhere.

        Args:
            remoteconsole: a proxy for the console there.
        """

        def __init__(self, remoteconsole: Any) -> None:
            super().__init__(filename="<remote-console>")
            self.remoteconsole = remoteconsole

        def push(self, line: str, *args: Any, **kwargs: Any) -> bool:
            """Send a line, print what comes back, and say whether more lines are wanted."""
            output, more = self.remoteconsole.push_and_get_output(line)
            if output:
                sys.stdout.write(output)
            return bool(more)

    def __init__(self, remoteconsoleuri: Any) -> None:
        if isinstance(remoteconsoleuri, str | core.URI):
            remoteconsoleuri = core.Proxy(remoteconsoleuri)
        self.remoteconsole = remoteconsoleuri

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.remoteconsole._pyroSerializer = _PICKLE

    def interact(self) -> None:
        """Read lines at this terminal and run them there, until the end of input."""
        console = self.LineSendingConsole(self.remoteconsole)
        console.interact(banner=self.remoteconsole.get_banner(), exitmsg="")
        print("(Remote session ended)")

    def terminate(self) -> None:
        """End the console there."""
        self.remoteconsole.terminate()

    def close(self) -> None:
        """End the console there, and let the connection go."""
        try:
            self.terminate()
        finally:
            self.remoteconsole._pyroRelease()

    def __repr__(self) -> str:
        return f"<RemoteInteractiveConsole on {self.remoteconsole!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
