"""A daemon that talks to us: what it says about itself, what does not fit, and the object."""

from __future__ import annotations

from time import monotonic

from pyroipc.cli.diagnosis.conversation import lost
from pyroipc.cli.diagnosis.findings import NO_CALLS, NO_CONVERSATION
from pyroipc.client.proxy import Proxy
from pyroipc.errors import DaemonError, PyroError, TimeoutError
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.protocol.hello import LIBRARY
from pyroipc.wire.dialect import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from pyroipc.cli.diagnosis.findings import Findings
    from pyroipc.client.session import Session
    from pyroipc.protocol.hello import Hello
    from pyroipc.settings import Settings

_PINGS = 20
_SHOWN_NAMES = 12
_MOST_NAMES = 1000


def compare(hello: Hello, session: Session, settings: Settings, findings: Findings) -> bool:
    """Note who the daemon is and what does not fit to this end; False: no call is possible."""
    facts = {
        "dialect": session.dialect,
        "library": hello.library,
        "python": hello.python,
        "protocol": hello.protocol,
        "pid": hello.pid,
        "features": sorted(hello.features)[:_MOST_NAMES],
    }
    if session.dialect != NATIVE:
        findings.ok("hello", f"{hello.library}; it does not say more about itself", **facts)
    else:
        text = f"{hello.library} on {hello.python}, process {hello.pid}"
        text = f"{text}; native dialect, version {hello.protocol}"
        findings.ok("hello", text, **facts)
        if hello.library != LIBRARY:
            findings.warn(
                "hello",
                f"the two ends are not of the same version: here it is {LIBRARY}",
                "install the same version on both sides",
            )
    _note_trust(session, findings)
    local_limit = settings.LOCAL_MAX_MESSAGE_SIZE if session.peer.trusted else 0
    _compare_limits(hello, local_limit, settings, findings)
    return _compare_serializers(hello, session, settings, findings)


def _note_trust(session: Session, findings: Findings) -> None:
    peer = session.peer
    facts = {"trusted": peer.trusted, "reason": peer.reason, "uid": peer.uid, "pid": peer.pid}
    if not peer.trusted:
        findings.ok("trust", f"{peer.reason}, so pickle and its like are refused", **facts)
    elif "pickle" in session.codecs.accepted:
        findings.ok("trust", f"local and trusted: {peer.reason}; pickle is allowed", **facts)
    else:
        findings.ok("trust", f"local and trusted: {peer.reason}", **facts)


def _compare_limits(
    hello: Hello, local_limit: int, settings: Settings, findings: Findings
) -> None:
    name = "LOCAL_MAX_MESSAGE_SIZE" if local_limit else "MAX_MESSAGE_SIZE"
    ours, theirs = local_limit or settings.MAX_MESSAGE_SIZE, hello.max_message_bytes
    facts = {"here": ours, "there": theirs}
    if theirs in {0, ours}:
        findings.ok("limits", f"messages may have {ours} bytes ({name})", **facts)
        return
    findings.warn(
        "limits",
        f"{name} differs: {ours} bytes here, {theirs} there; requests and answers of more than "
        f"{min(ours, theirs)} fail",
        f"set {name} to the same value on both sides, if so large ones are to be sent",
        **facts,
    )


def _compare_serializers(
    hello: Hello, session: Session, settings: Settings, findings: Findings
) -> bool:
    is_pyro = session.dialect != NATIVE
    name = session.codecs.default(settings)
    is_local = session.peer.trusted and not is_pyro
    setting = "LOCAL_SERIALIZER" if is_local else "SERIALIZER"
    facts = {
        "used": name,
        "here": sorted(session.codecs.accepted),
        "there": [] if is_pyro else sorted(hello.serializers)[:_MOST_NAMES],
    }
    if is_pyro:  # it has taken an introduction, and says nothing of others
        findings.ok("serializers", f"{name} is used ({setting}), and the daemon takes it", **facts)
        return True
    try:
        session.codecs.get(name)
    except PyroError as error:
        findings.fail_by("serializers", NO_CALLS, error, f"the setting is {setting}", **facts)
        return False
    findings.ok(
        "serializers",
        f"{name} is used ({setting}); the daemon takes {_listed(facts['there'])}",
        **facts,
    )
    return True


def measure(session: Session, findings: Findings, connect_seconds: float, deadline: float) -> bool:
    """Note how long an answer takes; False: none came."""
    times = []
    try:
        for _ in range(_PINGS):
            begin = monotonic()
            number = session.next_id()
            session.exchange(number, session.ping(number), deadline)
            times.append(monotonic() - begin)
    except TimeoutError:
        findings.fail(
            "latency",
            NO_CONVERSATION,
            f"the daemon said hello, but answered only {len(times)} of {_PINGS} pings in time",
            "is it overloaded, or does the network lose packets? Try a larger --timeout",
            answered=len(times),
        )
        return False
    except PyroError as error:
        lost("latency", NO_CONVERSATION, error, findings)
        return False
    times.sort()
    least, median = times[0], times[_PINGS // 2]
    findings.ok(
        "latency",
        f"connecting {connect_seconds * 1e3:.1f} ms; {_PINGS} pings: at least "
        f"{least * 1e3:.2f} ms, median {median * 1e3:.2f} ms",
        connect_seconds=connect_seconds,
        ping_min_seconds=least,
        ping_median_seconds=median,
    )
    return True


def look_at_object(
    session: Session, name: str, settings: Settings, findings: Findings, deadline: float
) -> None:
    """Note whether the object is there and what it exposes, and what else the daemon hosts."""
    if not look_for_object(session, name, settings, findings, deadline):
        return
    others = _registered(session, settings, deadline)
    if others is None:
        findings.ok("objects", "the daemon does not tell which objects it has")
    else:
        text = f"the daemon has {_counted(others, 'object')}"
        findings.ok("objects", text, objects=others[:_MOST_NAMES])


def look_for_object(
    session: Session, name: str, settings: Settings, findings: Findings, deadline: float
) -> bool:
    """Note whether the object is there and what it exposes; False: it is not."""
    proxy = _proxy(session, name, settings, deadline)
    try:
        proxy._pyroBind()  # noqa: SLF001 - Pyro's name for it
    except DaemonError as error:
        findings.fail(
            "object",
            NO_CALLS,
            f"the daemon has no object {name!r} ({error})",
            _which_there_are(name, session, settings, deadline),
            "an object is there from register() until unregister() or the end of the daemon, and "
            "one without a name of its own gets another id each time",
        )
        return False
    except Exception as error:  # noqa: BLE001 - also what a hook of the daemon raises arrives here
        lost("object", NO_CALLS, error, findings)
        return False
    methods, attributes = sorted(proxy._pyroMethods), sorted(proxy._pyroAttrs)  # noqa: SLF001
    findings.ok(
        "object",
        f"{name} exposes {_counted(methods, 'method')}"
        + (f" and {_counted(attributes, 'attribute')}" if attributes else ""),
        methods=methods[:_MOST_NAMES],
        attributes=attributes[:_MOST_NAMES],
    )
    return True


def _proxy(session: Session, name: str, settings: Settings, deadline: float) -> Proxy[Any]:
    proxy: Proxy[Any] = Proxy._pyro_over(session, name, settings)  # noqa: SLF001 - as spawn does
    proxy._pyroTimeout = max(0.001, deadline - monotonic())  # noqa: SLF001 - Pyro's name
    return proxy


def _registered(session: Session, settings: Settings, deadline: float) -> list[str] | None:
    """Ask the daemon for the ids of its objects; None: it does not say."""
    try:
        found = _proxy(session, DAEMON_NAME, settings, deadline).registered()
    except Exception:  # noqa: BLE001 - whatever it is, we are not told
        return None
    if not isinstance(found, list):
        return None
    return sorted(str(name) for name in found)


def _which_there_are(name: str, session: Session, settings: Settings, deadline: float) -> str:
    import difflib

    others = _registered(session, settings, deadline)
    if not others:
        return ""
    close = difflib.get_close_matches(name, others[:_MOST_NAMES], n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {_listed(others)}"


def _counted(names: Collection[str], noun: str) -> str:
    number = f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"
    return f"{number}: {_listed(names)}" if names else number


def _listed(names: Collection[str]) -> str:
    shown = [str(name) for name in names][:_SHOWN_NAMES]
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(shown) + more
