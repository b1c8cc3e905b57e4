"""What speaks at an address, if it is no daemon that talks to us.

It is given a hello of the native dialect, and its first bytes tell what it is. If they do not, it
is offered TLS, and then asked in HTTP. Each time on a new connection: after the first wrong byte
most servers are not interested any more.
"""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from pyroipc.cli.diagnosis import certificates
from pyroipc.client.connecting import options_of
from pyroipc.errors import CommunicationError
from pyroipc.protocol.hello import Hello
from pyroipc.transports import descriptors, table
from pyroipc.transports.coat import native_goodbye
from pyroipc.transports.seal import SIGNATURE as SEAL_SIGNATURE
from pyroipc.wire.dialect import VERSIONS, named
from pyroipc.wire.message import HELLO, KINDS, WELCOME
from pyroipc.wire.native import SIGNATURE, encode_plain, plain_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.location import Location
    from pyroipc.settings import Settings

_PYRO = SIGNATURE[:4]
_HTTP_REQUEST = b"HEAD / HTTP/1.0\r\n\r\n"
_MOST_BYTES = 2048
_QUIET_SECONDS = 0.2  # so long after its last byte the other end has said what it wanted to
_CALL_FOR_TLS = (
    "let the proxy use TLS: set SSL (PYRO_SSL=1), and the authorities that have signed the "
    "daemon's certificate (PYRO_SSL_CACERTS); or Proxy(uri, tls=context)"
)
# How the first bytes of others begin: what they are called, and what that means here.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"HTTP/", "http", "a web server (HTTP)"),
    (b"<", "http", "a web server (HTTP), or something else that answers in HTML"),
    (b"SSH-", "ssh", "an SSH server"),
    (b"220", "mail or ftp", "a mail or FTP server"),
    (b"+OK", "pop3", "a POP3 mail server"),
    (b"* OK", "imap", "an IMAP mail server"),
    (b"-ERR", "redis", "a Redis server"),
    (b"RFB ", "vnc", "a VNC server"),
)
_OTHER_SERVICE = "is the port right? It belongs to another service"


class Speaker(NamedTuple):
    """What speaks there.

    ``name`` is for programs, ``text`` for people, ``advice`` what can be done.
    """

    name: str
    text: str
    advice: str


def listen_to(location: Location, settings: Settings, deadline: float) -> Speaker:
    """Find out what speaks at an address, at most until a deadline."""
    hello = encode_plain(plain_prefix(HELLO, 0, 0), 1, Hello().encode())
    heard = _ask(location, settings, hello, _part(deadline, 3))
    if heard:
        return recognise(heard)
    if not location.is_unix:
        if certificates.speaks_tls(location, settings, _part(deadline, 2)):
            return Speaker("tls", "a server that speaks TLS", _CALL_FOR_TLS)
        answer = _ask(location, settings, _HTTP_REQUEST, deadline)
        if answer:
            return recognise(answer)
    if heard is None:
        return Speaker(
            "silence",
            "something accepts connections and says nothing",
            "if it is a daemon: does its request loop run (daemon.requestLoop()), and is its "
            "process not stopped or stuck? If not: a port forwarder accepts before it has reached "
            "the daemon behind it",
        )
    return Speaker(
        "closing",
        "something accepts connections, and closes them without a word when it is spoken to",
        "it speaks another protocol, or lets certain clients in only; see its log",
    )


def _part(deadline: float, parts: int) -> float:
    now = monotonic()
    return now + max(0.0, deadline - now) / parts


def _ask(location: Location, settings: Settings, request: bytes, end: float) -> bytes | None:
    """Send something and return what comes back: empty if nothing but the end, None if nothing."""
    try:
        sock = table.connect(location, options_of(settings), end)
    except CommunicationError:
        return None
    heard: bytes | None = None
    try:
        while len(heard or b"") < _MOST_BYTES:
            left = max(0.001, end - monotonic())
            if request:
                sock.settimeout(left)
                sock.sendall(request)
                request = b""
            if heard is not None and monotonic() >= end:
                break
            sock.settimeout(left if heard is None else min(left, _QUIET_SECONDS))
            data = sock.recv(_MOST_BYTES)
            heard = (heard or b"") + data
            if not data:
                break
    except ConnectionError:
        heard = heard or b""
    except OSError:
        pass  # the time is over
    finally:
        descriptors.close(sock)
    return heard


def recognise(head: bytes) -> Speaker:
    """Say who begins like this.

    Args:
        head: the first bytes that were received; at least one.
    """
    if head.startswith(_PYRO):
        return _recognise_pyro(head)
    if head[0] in {0x15, 0x16} and head[1:2] == b"\x03":
        return Speaker("tls", "a server that speaks TLS", _CALL_FOR_TLS)
    for beginning, name, text in _BEGINNINGS:
        if head.startswith(beginning):
            return Speaker(name, text, _OTHER_SERVICE)
    return Speaker(
        "unknown", f"something unknown, which begins with {head[:16]!r}", _OTHER_SERVICE
    )


def _recognise_pyro(head: bytes) -> Speaker:
    if head.startswith(SIGNATURE):
        kind = head[6] if len(head) > 6 else 0
        if kind == WELCOME:
            return Speaker("welcome", "a daemon of pyroipc, which bids a plain client welcome", "")
        said = (native_goodbye(head, ended=True) or "").removeprefix("; it says: ")
        said = said.removeprefix("security: ").removeprefix("version: ")
        text = f"a daemon of pyroipc ({KINDS.get(kind, 'unknown')})"
        return Speaker("native", f"{text}, which says: {said}" if said else text, "")
    if head.startswith(SIGNATURE[:5]):
        text = f"a daemon of pyroipc with version {head[5:6].hex()} of the native dialect"
        return Speaker("native", text, "install the same major version of pyroipc on both sides")
    if head.startswith(SEAL_SIGNATURE):
        return Speaker(
            "hmac", "a daemon that wants an HMAC key", "set PYRO_HMAC_KEY on both sides"
        )
    version = int.from_bytes(head[4:6], "big")
    spoken = next((name for name, known in VERSIONS.items() if known == version), None)
    text = f"a server of {named(version)}"
    if spoken is not None:
        return Speaker(spoken, text, "")
    known = ", ".join(f"{number} ({name})" for name, number in VERSIONS.items())
    return Speaker(
        "another-pyro",
        text,
        f"pyroipc speaks its own protocol and the versions {known}: install that version there",
    )
