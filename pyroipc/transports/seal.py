"""Signed records as a coat: whoever does not have the key cannot change, add or repeat anything.

Both ends have the same key, and both prove it: the server in its answer, the client with the
signature of its first record. Nothing is encrypted; for that there is TLS, and the two can be
worn together. The key itself never signs data: each connection and each direction has a key of
its own, made from it and from the random numbers (nonces) of both ends, so that nothing can be
replayed on another connection or sent back to where it came from.

A client opens with:

======  =====  ==================================================================
offset  bytes  field
======  =====  ==================================================================
0       5      signature: ``PYROH``
5       1      version, 1
6       32     nonce of the client
======  =====  ==================================================================

and the server answers with:

======  =====  ==================================================================
offset  bytes  field
======  =====  ==================================================================
0       6      signature and version, as above
6       32     nonce of the server
38      32     HMAC (key) of ``pyroipc 1 confirm``, both nonces
======  =====  ==================================================================

Then both send records, signed with the key of their direction, which is the HMAC (key) of
``pyroipc 1 client to server`` or ``pyroipc 1 server to client`` and both nonces:

======  =====  ==================================================================
offset  bytes  field
======  =====  ==================================================================
0       4      n, the number of bytes, at most 65536; 0: nothing comes any more
4       n      the bytes
4 + n   32     HMAC (direction key) of the number of the record (8 bytes, from 0),
               the 4 bytes of n, and the bytes
======  =====  ==================================================================

HMAC is HMAC-SHA256; numbers are unsigned and big-endian; the nonce of the client comes first. The
number of the record is not sent: one that is left out, repeated or out of order has a wrong
signature. It cannot run over, because 2**64 records would take thousands of years. Bytes are
given on only after their signature was checked, and before that no more than one record is held.
"""

from __future__ import annotations

import hmac
import os
import struct

from pyroipc.errors import (
    ConnectionClosedError,
    ProtocolError,
    SecurityError,
    VersionMismatchError,
)
from pyroipc.transports.coat import CHUNK_BYTES, Coat, native_goodbye, refusal_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroipc.transports.coat import Refusal

SIGNATURE = b"PYROH"
VERSION = 1
RECORD_BYTES = CHUNK_BYTES
"""The most bytes in a record."""
PREAMBLE = SIGNATURE + bytes([VERSION])
NONCE_BYTES = 32
MAC_BYTES = 32
_HELLO_BYTES = len(PREAMBLE) + NONCE_BYTES
_ANSWER_BYTES = _HELLO_BYTES + MAC_BYTES
_RECORD_ROOM = 4 + RECORD_BYTES + MAC_BYTES
_PYRO4_HEADER_BYTES = 24
_REFUSAL_BYTES = 1024
"""So much of a refusal is waited for."""
_CONFIRM = b"pyroipc 1 confirm"
_CLIENT_TO_SERVER = b"pyroipc 1 client to server"
_SERVER_TO_CLIENT = b"pyroipc 1 server to client"

_counted = struct.Struct(">QI")
_unpack_length = struct.Struct(">I").unpack_from


class SealCoat(Coat):
    """One end of a connection whose bytes are signed.

    Args:
        key: the common key, bytes or text (which is encoded as UTF-8).
        server_side: whether this is the end that was connected to.
        refusal: for a server: raw bytes for a client that uses no key, or what makes them of how
            it began.
        unsealed: how a Pyro4 begins, which signs its messages in another way. A server gives the
            bytes of such a client on as they are; whoever reads them checks the signatures. A
            client refuses such a server, but not before all is there that it has to say.

    Raises:
        SecurityError: the key is empty.
        TypeError: the key is neither bytes nor text.
    """

    name = "HMAC"

    __slots__ = (
        "_buffer",
        "_cut",
        "_is_open",
        "_key",
        "_nonce",
        "_receive_key",
        "_received",
        "_refusal",
        "_send_key",
        "_sent",
        "_server_side",
        "_unsealed",
        "_used",
    )

    def __init__(
        self,
        key: bytes | str,
        *,
        server_side: bool,
        refusal: Refusal = b"",
        unsealed: bytes = b"",
    ) -> None:
        super().__init__()
        self._key = _key_bytes(key)
        self._server_side = server_side
        self._refusal = refusal
        self._unsealed = unsealed
        self._is_open = False  # the client wears no coat, and is let in all the same
        self._nonce = os.urandom(NONCE_BYTES)
        self._send_key = b""
        self._receive_key = b""
        self._sent = 0
        self._received = 0
        self._buffer = b""  # raw bytes that arrived; so many of them were used:
        self._used = 0
        self._cut = False  # the raw stream has ended
        self.wanted = _RECORD_ROOM
        if not server_side:
            self.outgoing = PREAMBLE + self._nonce

    @property
    def key(self) -> bytes:
        """The common key."""
        return self._key

    @property
    def head(self) -> bytes:
        """What has arrived and was not used: after a refusal, how the peer began."""
        return self._buffer[self._used :]

    # ------------------------------------------------------------------------ receiving

    def advance(self) -> bool:
        """Digest what arrived; see :meth:`Coat.advance`.

        Raises:
            SecurityError: the peer has no key or another, or bytes were changed on the way.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended without a farewell.
        """
        if self.plain_start < len(self.plain) or self.ended:
            return True
        self._digest()
        if (self.handshake_done or self._greet()) and self._next_record():
            self.hungry = self._used == len(self._buffer)
            return True
        self.hungry = True
        self.wanted = _RECORD_ROOM - (len(self._buffer) - self._used)
        return False

    def _digest(self) -> None:
        arrived = self.arrived
        if isinstance(arrived, bytes):
            # No call may stand between these: a signal handler could raise there.
            if arrived:
                self._buffer = self._buffer[self._used :] + arrived
                self._used = 0
            else:
                self._cut = True
            self.arrived = 0

    def _greet(self) -> bool:
        """Read the first bytes of the peer and answer them; False if they are not complete.

        Raises:
            SecurityError: the peer has no key, or another.
            ProtocolError: the peer speaks another version.
            ConnectionClosedError: the stream ended.
        """
        head = self._buffer
        unsealed = self._unsealed if self._server_side else b""
        if unsealed and head[: len(unsealed)] == unsealed:
            self._is_open = self.handshake_done = True
            return True
        if unsealed and not self._cut and len(PREAMBLE) > len(head) and unsealed.startswith(head):
            return False
        if not PREAMBLE.startswith(head[: len(PREAMBLE)]) and not self._refuse(head):
            return False
        needed = _HELLO_BYTES if self._server_side else _ANSWER_BYTES
        if len(head) < needed:
            if self._cut:
                raise ConnectionClosedError(self._cut_in_handshake())
            return False
        nonce = head[len(PREAMBLE) : _HELLO_BYTES]
        nonces = nonce + self._nonce if self._server_side else self._nonce + nonce
        confirmation = self._derive(_CONFIRM, nonces)
        outgoing = b""
        labels = _CLIENT_TO_SERVER, _SERVER_TO_CLIENT
        if self._server_side:
            labels = _SERVER_TO_CLIENT, _CLIENT_TO_SERVER
            outgoing = PREAMBLE + self._nonce + confirmation
        elif not hmac.compare_digest(confirmation, head[_HELLO_BYTES:_ANSWER_BYTES]):
            raise SecurityError("the HMAC keys of the two ends differ")
        send_key, receive_key = (self._derive(label, nonces) for label in labels)
        # No call may stand from here to the end: a signal handler could raise there.
        self._send_key = send_key
        self._receive_key = receive_key
        self.outgoing += outgoing
        self._used = needed
        self.handshake_done = True
        return True

    def _derive(self, label: bytes, nonces: bytes) -> bytes:
        return hmac.digest(self._key, label + nonces, "sha256")

    def _refuse(self, head: bytes) -> bool:
        """Refuse a peer whose first bytes are not ours; False: they may still tell its reason.

        Raises:
            SecurityError: the peer uses no key.
            VersionMismatchError: the peer signs by another version.
        """
        if head.startswith(SIGNATURE):
            raise VersionMismatchError(
                f"the peer signs by version {head[len(SIGNATURE)]}, this end by {VERSION}"
            )
        if self._server_side:
            self.outgoing += refusal_to(self._refusal, head)
            raise SecurityError(
                f"the client uses no HMAC key, which this server requires: it sent {head[:16]!r}"
            )
        reason = native_goodbye(head, ended=self._cut)
        if reason is None or not (self._cut or self._is_whole(head)):
            return False
        raise SecurityError(f"the server uses no HMAC key{reason or f': it sent {head[:16]!r}'}")

    def _is_whole(self, head: bytes) -> bool:
        """Say whether more belongs to the refusal of a Pyro4, by the sizes in its header."""
        if not self._unsealed or not self._unsealed.startswith(head[: len(self._unsealed)]):
            return True
        if len(head) < _PYRO4_HEADER_BYTES:
            return False
        rest = int.from_bytes(head[12:16], "big") + int.from_bytes(head[18:20], "big")
        return len(head) >= min(_PYRO4_HEADER_BYTES + rest, _REFUSAL_BYTES)

    def _cut_in_handshake(self) -> str:
        if self._server_side:
            return "the client closed the connection in the HMAC handshake"
        text = "the server closed the connection in the HMAC handshake"
        return f"{text}; perhaps it uses no HMAC key"

    def _next_record(self) -> bool:
        """Check one record and make it ``plain``; False if it is not complete.

        Raises:
            SecurityError: its signature is wrong, or it is too large.
            ConnectionClosedError: the stream ended.
        """
        buffer, start = self._buffer, self._used
        available = len(buffer) - start
        if self._is_open:
            if not available and not self._cut:
                return False
            self._used = len(buffer)
            self.plain = memoryview(buffer)[start:]
            self.plain_start = 0
            self.ended = not available
            return True
        if available >= 4:
            (n_bytes,) = _unpack_length(buffer, start)
            if n_bytes > RECORD_BYTES:
                raise SecurityError(
                    f"a record of {n_bytes} bytes, at most {RECORD_BYTES} are allowed: {_CHANGED}"
                )
            stop = start + 4 + n_bytes
            if available >= 4 + n_bytes + MAC_BYTES:
                view = memoryview(buffer)
                data = view[start + 4 : stop]
                counted = _counted.pack(self._received, n_bytes)
                mac = hmac.digest(self._receive_key, b"".join((counted, data)), "sha256")
                if not hmac.compare_digest(mac, view[stop : stop + MAC_BYTES]):
                    raise SecurityError(self._wrong_signature())
                # No call may stand from here to the end: a signal handler could raise there.
                self._received += 1
                self._used = stop + MAC_BYTES
                self.plain = data
                self.plain_start = 0
                if not n_bytes:
                    self.ended = True
                return True
        if self._cut:
            where = "in the middle of a signed record" if available else "without a farewell"
            raise ConnectionClosedError(f"the stream was cut off {where}, or the peer died")
        return False

    def _wrong_signature(self) -> str:
        if self._server_side and not self._received:
            return f"the first record of the client has a wrong signature: it has another {_KEY}"
        return f"a record has a wrong signature: {_CHANGED}"

    # -------------------------------------------------------------------------- sending

    def write(self, data: memoryview) -> None:
        """Sign plain bytes; see :meth:`Coat.write`.

        Raises:
            ProtocolError: they are more than a record may have.
        """
        n_bytes = len(data)
        if n_bytes > RECORD_BYTES:
            raise ProtocolError(f"{n_bytes} bytes are too many for one signed record")
        record = bytes(data) if self._is_open else self._record(data)
        # No call may stand from here to the end: a signal handler could raise there.
        self._sent += 1
        self.outgoing += record
        self.taken = n_bytes

    def _record(self, data: bytes | memoryview) -> bytes:
        signed = b"".join((_counted.pack(self._sent, len(data)), data))
        mac = hmac.digest(self._send_key, signed, "sha256")
        return b"".join((memoryview(signed)[8:], mac))

    def farewell(self) -> None:
        """Make the empty record that ends the stream."""
        if self._is_open:
            return
        record = self._record(b"")
        self._sent += 1
        self.outgoing += record


_CHANGED = "bytes were changed, repeated or left out on the way"
_KEY = "HMAC key, or bytes were changed on the way"


def _key_bytes(key: bytes | str) -> bytes:
    """Return a key as bytes.

    Raises:
        SecurityError: the key is empty.
        TypeError: it is neither bytes nor text.
    """
    if isinstance(key, str):
        key = key.encode()
    elif not isinstance(key, bytes):
        raise TypeError(f"an HMAC key is bytes or text, not {type(key).__name__}")
    if not key:
        raise SecurityError("an HMAC key must not be empty")
    return key
