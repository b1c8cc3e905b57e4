"""A conversation with a daemon: how it is opened as a proxy would, and why that does not work.

As a proxy does, it begins in the native dialect, and again in the one that the daemon names when
it refuses that. A server that is Pyro takes an introduction instead of a hello, for which the
object ``Pyro.Daemon`` will do.
"""

from __future__ import annotations

from time import monotonic

from pyroipc.cli.diagnosis import certificates, strangers
from pyroipc.cli.diagnosis.findings import NO_CALLS, NO_CONVERSATION, WRONG_HERE, told
from pyroipc.client import connecting
from pyroipc.client.proxy import Proxy
from pyroipc.client.pyro import detection
from pyroipc.client.pyro.introducing import introduce
from pyroipc.errors import PyroError, SecurityError
from pyroipc.protocol.calls import DAEMON_NAME
from pyroipc.transports import descriptors, table
from pyroipc.transports.trust import identify_peer
from pyroipc.wire.dialect import NATIVE, PYRO4, SIGNATURES, VERSIONS, OtherDialectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from pyroipc.cli.diagnosis.findings import Findings
    from pyroipc.client.session import Session
    from pyroipc.location import Location
    from pyroipc.settings import Settings

_PLAIN_WELCOME = (
    "the two ends are not set up alike: set SSL and HMAC_KEY (PYRO_SSL, PYRO_HMAC_KEY) either on "
    "both or on none"
)


def converse(
    location: Location, host: str, settings: Settings, findings: Findings, deadline: float
) -> Session | None:
    """Connect as a proxy does, and open a conversation.

    Args:
        location: an address that accepts connections.
        host: the host in the URI, which the certificate of the server must name.
        settings: say what protects the connection.
        findings: are added to.
        deadline: for all of it, and for finding out who is there if it does not work.

    Returns:
        A session, which the caller closes; None: none could be had.
    """
    now = monotonic()
    attempt = _Attempt(location, host, settings, findings)
    try:
        return attempt.open(now + (deadline - now) / 2)
    except PyroError as error:
        attempt.explain(error, deadline)
        return None


class _Attempt:
    """One connection, made piece by piece, so that it is known which piece does not fit."""

    def __init__(
        self, location: Location, host: str, settings: Settings, findings: Findings
    ) -> None:
        self._location = location
        self._host = host
        self._settings = settings
        self._findings = findings
        self._step = "settings"

    def open(self, deadline: float) -> Session:
        """Open a conversation, in the dialect of the daemon.

        Raises:
            PyroError: that did not work.
        """
        dialect = detection.chosen(None, self._settings)
        if dialect != detection.AUTO:
            return self._open(dialect, deadline)
        before = len(self._findings.found)
        try:
            return self._open(NATIVE, deadline)
        except OtherDialectError as refusal:
            key = connecting.key_of(None, self._settings)
            dialect = detection.learn(self._location, refusal, key)
        del self._findings.found[before:]
        return self._open(dialect, deadline)

    def _open(self, dialect: str, deadline: float) -> Session:
        """Connect, put the coats on, and say hello.

        Raises:
            PyroError: one of these did not work.
        """
        settings = self._settings
        tls = None if self._location.is_unix else connecting.client_tls(settings)
        key = connecting.key_of(None, settings)
        self._step = "connect"
        raw = table.connect(self._location, connecting.options_of(settings), deadline)
        try:
            peer = identify_peer(raw)
            sock: Any = self._encrypted(raw, tls, deadline)
            if dialect == NATIVE:
                sock = self._signed(sock, key, deadline)
                self._step = "hello"
            else:  # where each message is signed by itself, if that can be done at all
                self._step = "hmac"
            session = connecting.open_session(
                sock, peer, settings, served=False, dialect=dialect, hmac_key=key
            )
        except BaseException:
            descriptors.close(raw)
            raise
        try:
            self._greet(session, key, deadline)
        except BaseException:
            session.close()
            raise
        return session

    def _greet(self, session: Session, key: bytes, deadline: float) -> None:
        """Say hello, or introduce this end.

        Raises:
            PyroError: the daemon does not want to talk, or not in this way.
        """
        if session.dialect == NATIVE:
            session.open(deadline)
            return
        proxy: Proxy[Any] = Proxy._pyro_over(session, DAEMON_NAME, self._settings)  # noqa: SLF001 - as spawn does
        self._step = "serializers"
        proxy._pyro_codec(session)  # noqa: SLF001 - complains about one that cannot be used
        self._step = "hello"
        introduce(proxy, session, DAEMON_NAME, deadline)  # type: ignore[arg-type]
        if key:
            self._findings.ok("hmac", "both ends have the same HMAC key", used=True)
        else:
            self._findings.ok("hmac", "not used: no HMAC_KEY is set here", used=False)

    def _encrypted(self, sock: Any, context: ssl.SSLContext | None, deadline: float) -> Any:
        self._step = "tls"
        if context is None:
            if not self._location.is_unix:
                self._findings.ok("tls", "not used: the setting SSL is off here", used=False)
            return sock
        from pyroipc.transports.coated import CoatedSocket
        from pyroipc.transports.tls import TlsCoat

        coat = TlsCoat(context, server_side=False, server_hostname=self._host)
        coated = CoatedSocket(sock, coat)
        coated.handshake(deadline)
        facts = certificates.describe(coat.getpeercert() or {})
        cipher = coat.cipher()
        self._findings.ok(
            "tls",
            f"{coat.version()}, {cipher[0] if cipher else 'unknown cipher'}; "
            f"{certificates.in_words(facts)}",
            used=True,
            version=coat.version(),
            cipher=cipher[0] if cipher else None,
            certificate=facts,
        )
        if certificates.ends_soon(facts):
            self._findings.warn(
                "tls",
                f"the certificate of the server expires in {facts['days_left']} days",
                "have it renewed before",
            )
        return coated

    def _signed(self, sock: Any, key: bytes, deadline: float) -> Any:
        self._step = "hmac"
        if not key:
            self._findings.ok("hmac", "not used: no HMAC_KEY is set here", used=False)
            return sock
        from pyroipc.transports.coated import CoatedSocket
        from pyroipc.transports.seal import SealCoat

        unsealed = SIGNATURES[PYRO4]
        sealed = CoatedSocket(sock, SealCoat(key, server_side=False, unsealed=unsealed))
        connecting.seal(sealed, deadline)
        self._findings.ok("hmac", "both ends have the same HMAC key", used=True)
        return sealed

    def explain(self, error: PyroError, deadline: float) -> None:
        """Note why there is no conversation, and who is there instead."""
        findings = self._findings
        if self._step == "settings":
            findings.fail_by("settings", WRONG_HERE, error)
            return
        if self._step == "serializers":
            findings.fail_by("serializers", NO_CALLS, error, "the setting is SERIALIZER")
            return
        findings.fail_by(self._step, NO_CONVERSATION, error)
        if self._step == "tls" and isinstance(error, SecurityError):
            self._show_certificate(deadline)
        speaker = strangers.listen_to(self._location, self._settings, deadline)
        is_pyro = speaker.name in VERSIONS
        advice = _PLAIN_WELCOME if speaker.name == "welcome" else speaker.advice
        if is_pyro:
            advice = self._advice_on_pyro(str(error))
        findings.fail(
            "protocol", NO_CONVERSATION, f"there is {speaker.text}", advice, speaker=speaker.name
        )
        if not is_pyro:
            findings.check_by_hand(
                "have both ends the same version of pyroipc? pyroipc --version",
                "are they set up alike? compare the output of pyroipc config --changed",
            )
        findings.check_by_hand(
            "what do the logs of both ends say? PYRO_LOGLEVEL=DEBUG PYRO_LOGFILE={stderr}",
            f"what comes over the wire? {self._by_netcat()}",
        )

    def _advice_on_pyro(self, text: str) -> str:
        """Return what to do about a daemon of Pyro that could be called, were it not for this."""
        settings = self._settings
        if settings.DIALECT != detection.AUTO:
            return f"the setting DIALECT says {settings.DIALECT}; auto: to find out"
        if "hmac" in text.lower():
            return "both ends need the same HMAC key (PYRO_HMAC_KEY), or none of them any"
        if "serializer" in text:
            return "choose one that the daemon accepts, with the setting SERIALIZER"
        return "pyroipc speaks its protocol: its answer, or its log, tells what it minds"

    def _show_certificate(self, deadline: float) -> None:
        now = monotonic()
        end = now + max(0.0, deadline - now) / 2
        facts = certificates.describe_untrusted(self._location, self._settings, end)
        if facts:
            text = f"the server shows a {certificates.in_words(facts)}"
            self._findings.fail("tls", NO_CONVERSATION, text, certificate=facts)

    def _by_netcat(self) -> str:
        location = self._location
        if location.is_unix:
            return f"nc -U {location.sockname}"
        return f"nc {location.host} {location.port}"


def lost(step: str, exit_status: int, error: Exception, findings: Findings) -> None:
    """Note that a conversation ended at a step."""
    text, advice = told(error)
    findings.fail(
        step,
        exit_status,
        f"{type(error).__name__}: {text}",
        advice,
        "the log of the daemon's program says more (PYRO_LOGLEVEL=DEBUG)",
        error=type(error).__name__,
    )
