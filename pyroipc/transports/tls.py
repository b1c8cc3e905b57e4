"""TLS as a coat: plain bytes into TLS records and back.

What this adds to the standard library's :mod:`ssl`: errors that say what to do, and a count of the
stream that no signal handler can spoil. Contexts come from :mod:`pyroipc.transports.tls_contexts`.

**The end of the stream.** A peer that closes in an orderly way says so in TLS (close_notify), and
then there is an end. A stream that just ends was cut off, by somebody between or by the death of
the peer: ConnectionClosedError, even between two messages, because nobody else can tell.

**A peer that speaks no TLS** is known by its first byte. A server can answer it in the native
dialect (``refusal``), and a client reads such an answer, so that both sides learn the reason.
"""

from __future__ import annotations

import ssl

from pyroipc.errors import ConnectionClosedError, SecurityError
from pyroipc.transports.coat import Coat, native_goodbye, refusal_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyroipc.transports.coat import Refusal

_HANDSHAKE_BYTE = 0x16
_ALERT_BYTE = 0x15
_RECORD_HEADER = 5  # type (1), version (2), number of bytes that follow (2)
_RECORD_MAX = 16_384 + 2048  # by TLS 1.2; 1.3 allows less
_RECORDS_AT_ONCE = 32  # so that each step is short: it is repeated when a signal handler raises
_MARK = 0x5A  # any number would do: it is what a byte that was not received looks like

_EXPIRED = 10
_NOT_YET_VALID = 9
_OTHER_NAME = frozenset((62, 64))  # X509_V_ERR_HOSTNAME_MISMATCH, .._IP_ADDRESS_MISMATCH
_UNKNOWN_AUTHORITY = frozenset((2, 18, 19, 20, 21))
# What the peer says (the name of the alert, as OpenSSL spells it), and what that means.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it requires a client certificate: give one (SSL_CLIENTCERT)",
    "UNKNOWN_CA": "it does not trust the authority that signed our certificate; the authority's"
    " certificate must be among its authorities (SSL_CACERTS)",
    "CERTIFICATE_EXPIRED": "our certificate has expired, or the clocks differ",
    "CERTIFICATE_REVOKED": "our certificate was revoked",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "BAD_CERTIFICATE": "it does not accept our certificate; perhaps that is for another name",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not made for this purpose",
    "PROTOCOL_VERSION": "the two ends have no version of TLS in common",
    "HANDSHAKE_FAILURE": "the two ends have no cipher in common, or it requires a client"
    " certificate (SSL_CLIENTCERT)",
    "DECRYPT_ERROR": "a signature of ours is wrong",
    "BAD_RECORD_MAC": "bytes were changed on the way",
    "ACCESS_DENIED": "access denied",
    "UNRECOGNIZED_NAME": "it does not know the host name that we asked for",
}
# What OpenSSL finds on our own side.
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client shows no certificate, and one is required",
    "NO_SHARED_CIPHER": "the two ends have no cipher in common",
    "UNSUPPORTED_PROTOCOL": "the two ends have no version of TLS in common",
    "UNKNOWN_PROTOCOL": "the two ends have no version of TLS in common",
    "VERSION_TOO_LOW": "the two ends have no version of TLS in common",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "bytes were changed on the way",
}


class TlsCoat(Coat):
    """One end of a TLS connection.

    Args:
        context: made by :mod:`pyroipc.transports.tls_contexts`, or the user's own.
        server_side: whether this is the end that was connected to.
        server_hostname: for a client the host name or address as the user wrote it, which must be
            in the server's certificate.
        refusal: for a server: raw bytes for a client that speaks no TLS, or what makes them of
            how it began.

    Raises:
        SecurityError: the host name is missing or cannot be one.
    """

    name = "TLS"

    __slots__ = (
        "_asked",
        "_first",
        "_head",
        "_host",
        "_incoming",
        "_is_tls",
        "_n_first",
        "_offered",
        "_outside",
        "_refusal",
        "_rest",
        "_server_side",
        "_ssl",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str = "",
        refusal: Refusal = b"",
    ) -> None:
        super().__init__()
        self._server_side = server_side
        self._host = server_hostname.strip("[]").partition("%")[0]
        self._refusal = refusal
        self._head = b""  # the part of a record that has arrived, or of what is no TLS
        self._is_tls = False
        self._incoming = ssl.MemoryBIO()
        self._outside = ssl.MemoryBIO()
        self._offered = 0  # the size of a write that began; see collect()
        # The stages of reading one record; see _next_record().
        self._first = bytearray(1)
        self._n_first = 0
        self._asked: int | None = None
        self._rest: bytearray | None = None
        try:
            if context.check_hostname and not server_side and not self._host:
                raise SecurityError("TLS needs the host name that the server's certificate is for")
            self._ssl = context.wrap_bio(
                self._incoming,
                self._outside,
                server_side=server_side,
                server_hostname=None if server_side else self._host or None,
            )
        except (ValueError, ssl.SSLError) as error:  # UnicodeError is a ValueError
            text = f"{server_hostname!r} cannot be the host name of a TLS server: {error}"
            raise SecurityError(text) from None

    # ------------------------------------------------------------------- the peer's side

    def getpeercert(self) -> dict[str, Any] | None:
        """Return the peer's certificate as :meth:`ssl.SSLSocket.getpeercert` does.

        Returns:
            None if the peer has shown none, or the handshake is not done; an empty dict if it has
            shown one that was not verified.
        """
        return self._ssl.getpeercert() if self.handshake_done else None

    def version(self) -> str | None:
        """Return the version of TLS, such as ``"TLSv1.3"``; None before the handshake."""
        return self._ssl.version()

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the name of the cipher, its version of TLS and its bits; None as above."""
        return self._ssl.cipher()

    # ------------------------------------------------------------------------ receiving

    def advance(self) -> bool:
        """Digest what arrived; see :meth:`Coat.advance`.

        Raises:
            SecurityError: the peer is not who it should be, speaks no TLS, has refused us, or
                bytes were changed on the way.
            ConnectionClosedError: the stream ended without a farewell.
        """
        if self.plain_start < len(self.plain) or self.ended:
            return True
        self.collect()
        while self._digest():
            try:
                if not self.handshake_done:
                    self._ssl.do_handshake()
                    self.handshake_done = True
                self._next_record()
            except ssl.SSLWantReadError:
                if isinstance(self.arrived, bytes):
                    continue
                break
            except ssl.SSLError as error:
                raise self._translated(error) from None
            self.hungry = not self._incoming.pending and not isinstance(self.arrived, bytes)
            return True
        self.hungry = True
        return False

    def _digest(self) -> bool:
        """Give to OpenSSL the next records that arrived whole; False if it must not go on yet."""
        arrived = self.arrived
        if not isinstance(arrived, bytes) or self._incoming.pending:
            return self._is_tls or not self._server_side
        self.hungry = False
        if not self._is_tls and not self._check_head(arrived):
            return False
        data = self._head + arrived
        stop = _end_of_records(data) if arrived else len(data)
        if arrived and not stop:
            self._head = data
            self.arrived = 0  # no call between this and the line above
            return False
        rest = data[stop:]
        incoming_write = self._incoming.write
        for self.arrived in map(incoming_write, (data[:stop],)):
            self._head = b""  # no call between these and the storing of the number
            self.arrived = rest or 0
            break
        if not arrived:
            self._incoming.write_eof()
        return True

    def _check_head(self, arrived: bytes) -> bool:
        """Find out by the first bytes whether the peer speaks TLS; False: not known yet.

        Raises:
            SecurityError: it does not.
            ConnectionClosedError: the stream ended before its first byte.
        """
        head = self._head + arrived
        if not head:
            other = "client" if self._server_side else "server"
            text = f"the {other} closed the connection instead of speaking TLS"
            raise ConnectionClosedError(text)
        if head[0] == _HANDSHAKE_BYTE or (head[0] == _ALERT_BYTE and not self._server_side):
            self._is_tls = True
            return True
        if self._server_side:
            self.outgoing += refusal_to(self._refusal, head)
            raise SecurityError(
                f"the client does not speak TLS, which this server requires: it sent {head[:16]!r}"
            )
        reason = native_goodbye(head, ended=not arrived)
        if reason is None:
            self._head = head
            self.arrived = 0
            return False
        if not reason:
            reason = f": it sent {head[:16]!r}"
        raise SecurityError(f"the server does not speak TLS{reason}")

    def _next_record(self) -> None:
        """Decrypt one record into ``plain``, or note the end.

        Python's OpenSSL module runs signal handlers itself, after it has read: if one raises, how
        many bytes were read is not known. So the first byte is read alone. After that OpenSSL
        tells how many are left of the record, and hence whether they have been read.

        Raises:
            ConnectionClosedError: a signal handler raised where nobody can know what was read.
            ssl.SSLError: as OpenSSL says.
        """
        if self._asked is not None:
            self._settle_first(self._asked)
        read: Any = self._ssl.read  # typeshed does not know what it returns with a buffer
        first = self._first
        if not self._n_first:
            first[0] = _MARK
            self._asked = self._incoming.pending
            try:
                for self._n_first in map(read, (1,), (first,)):
                    self._asked = None  # no call between this and the storing of the number
            except ssl.SSLError:
                self._asked = None
                raise
            if not self._n_first:
                self.ended = True
                return
        if self._rest is None:
            record = bytearray(1 + self._ssl.pending())
            record[:1] = first
            self._rest = record
        view = memoryview(self._rest)
        if len(view) > 1 and self._ssl.pending():
            read(len(view) - 1, view[1:])
        # No call may stand from here to the end: a signal handler could raise there.
        self.plain = view
        self.plain_start = 0
        self._rest = None
        self._n_first = 0

    def _settle_first(self, before: int) -> None:
        """Find out whether the reading of a first byte was interrupted before or after.

        Raises:
            ConnectionClosedError: nobody can know.
        """
        if self._ssl.pending() or self._first[0] != _MARK:
            self._n_first = 1
        elif self._incoming.pending != before:
            # It took a record: one that has no data, or one that consists of this very byte.
            raise ConnectionClosedError(
                "a signal handler raised in the middle of a TLS record: it is not known how much"
                " was received"
            )
        self._asked = None

    # -------------------------------------------------------------------------- sending

    def write(self, data: memoryview) -> None:
        """Encrypt plain bytes; see :meth:`Coat.write`.

        Raises:
            SecurityError: as OpenSSL says.
        """
        n_bytes = len(data)
        write = self._ssl.write
        self._offered = n_bytes
        try:
            for self.taken in map(write, (data,)):
                self._offered = 0
        except ssl.SSLError as error:
            self._offered = 0
            raise self._translated(error) from None

    def collect(self) -> None:
        """Move records from OpenSSL to ``outgoing``; settle an interrupted write.

        OpenSSL takes a write whole, into its empty memory, or not at all. So if a signal handler
        raised, that memory tells which it was.
        """
        if self._offered:
            if self._outside.pending:
                self.taken = self._offered
            self._offered = 0
        outside_read = self._outside.read
        while self._outside.pending:
            for data in map(outside_read, (-1,)):
                # No call between these and the reading.
                self.outgoing = self.outgoing[self.outgoing_start :] + data
                self.outgoing_start = 0

    def farewell(self) -> None:
        """Make a close_notify."""
        try:
            self._ssl.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # it is waiting for that of the peer, or the connection is broken
        self.collect()

    # --------------------------------------------------------------------------- errors

    def _translated(self, error: ssl.SSLError) -> SecurityError | ConnectionClosedError:
        other = "client" if self._server_side else "server"
        if isinstance(error, ssl.SSLEOFError):
            if self.handshake_done:
                text = f"the {other} ended the connection without a farewell (TLS close_notify)"
                return ConnectionClosedError(f"{text}: it died, or the stream was cut off")
            text = f"the {other} closed the connection in the TLS handshake: it has refused us"
            return ConnectionClosedError(f"{text}, or does not speak TLS")
        if isinstance(error, ssl.SSLCertVerificationError):
            return SecurityError(self._verification_text(error, other))
        reason = error.reason or str(error)
        _, is_alert, alert = reason.partition("ALERT_")
        if is_alert:
            meaning = _ALERTS.get(alert, alert.replace("_", " ").lower())
            return SecurityError(f"the {other} has refused the TLS connection: {meaning}")
        meaning = _REASONS.get(reason, reason.replace("_", " ").lower())
        return SecurityError(f"the TLS connection to the {other} failed: {meaning}")

    def _verification_text(self, error: ssl.SSLCertVerificationError, other: str) -> str:
        code = error.verify_code
        text = f"the certificate of the {other} was refused: "
        if code in _OTHER_NAME:
            return (
                f"{text}it is not for {self._host!r}; connect by a name that is in it, or have"
                " one made for this name"
            )
        if code in _UNKNOWN_AUTHORITY:
            return (
                f"{text}no authority that is trusted here has signed it ({error.verify_message});"
                " put the authority's certificate among the authorities (SSL_CACERTS)"
            )
        if code == _EXPIRED:
            return f"{text}it has expired; it must be renewed, or the clock here is wrong"
        if code == _NOT_YET_VALID:
            return f"{text}it is not valid yet; perhaps the clock here is wrong"
        return f"{text}{error.verify_message}"


def _end_of_records(data: bytes) -> int:
    """Return where a record ends, such that all before it are whole; the last of some.

    OpenSSL could be given parts of records as well. But then it takes them without any effect, and
    after a signal handler has raised that looks like a record that was lost.
    """
    stop = 0
    for _ in range(_RECORDS_AT_ONCE):
        if len(data) - stop < _RECORD_HEADER:
            break
        n_bytes = int.from_bytes(data[stop + 3 : stop + _RECORD_HEADER], "big")
        if n_bytes > _RECORD_MAX:
            return len(data)  # OpenSSL says what is wrong with it
        if stop + _RECORD_HEADER + n_bytes > len(data):
            break
        stop += _RECORD_HEADER + n_bytes
    return stop
