"""Files with certificates and keys into contexts of TLS.

What this adds to the standard library's :mod:`ssl`: errors that name the file and say what is
wrong with it, and no prompt for a password on the terminal, ever. TLS 1.2 is the least. A context
is made anew for each daemon and proxy, so that two with different settings live in one process.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

from pyroipc.errors import SecurityError

_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
_CERTIFICATE_SUFFIXES = frozenset((".pem", ".crt", ".cer"))


def server_context(
    certificate: str,
    *,
    key: str = "",
    password: str = "",
    authorities: str = "",
    require_client_certificate: bool = False,
) -> ssl.SSLContext:
    """Make the TLS context of a server.

    Args:
        certificate: the file with the server's certificate, and those that lead to its authority.
        key: the file with its private key; empty: it is in the file of the certificate.
        password: of the key, if it is encrypted.
        authorities: a file or directory with certificates: whom they signed is let in, if a
            client certificate is required. Empty: the system's, which let in anybody who has any
            public certificate.
        require_client_certificate: refuse clients without one.

    Raises:
        SecurityError: a file is missing, is not what it should be, or does not fit; the text
            names it.
    """
    if not certificate:
        raise SecurityError("a TLS server needs a certificate (SSL_SERVERCERT)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.num_tickets = 0  # nobody resumes sessions; each would cost memory and a message
    _load_chain(context, certificate, key, password)
    if require_client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, authorities, ssl.Purpose.CLIENT_AUTH)
    return context


def client_context(
    *, authorities: str = "", certificate: str = "", key: str = "", password: str = ""
) -> ssl.SSLContext:
    """Make the TLS context of a client, which verifies the server and its host name.

    Args:
        authorities: a file or directory with the certificates of those that are trusted to sign
            a server's; a server's own certificate will do. Empty: the system's.
        certificate: the file with the client's certificate, if the server requires one.
        key: the file with its private key; empty: it is in the file of the certificate.
        password: of the key, if it is encrypted.

    Raises:
        SecurityError: a file is missing, is not what it should be, or does not fit; the text
            names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if certificate:
        _load_chain(context, certificate, key, password)
    elif key:
        raise SecurityError(f"the key {key!r} is of no use without a certificate")
    _load_authorities(context, authorities, ssl.Purpose.SERVER_AUTH)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # a cut is not an end


def _load_chain(context: ssl.SSLContext, certificate: str, key: str, password: str) -> None:
    """Load a certificate and its key.

    Raises:
        SecurityError: as :func:`server_context` says.
    """
    _check_readable(certificate, "certificate")
    if key:
        _check_readable(key, "key")
    key_file = key or certificate
    asked = False

    def tell_password() -> str:  # without it OpenSSL would prompt on the terminal
        nonlocal asked
        asked = True
        return password

    try:
        context.load_cert_chain(certificate, key or None, tell_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"the key in {key_file!r} is not that of the certificate in {certificate!r}"
        elif asked and not password:
            text = f"the key in {key_file!r} is encrypted, and no password was given"
        elif asked:
            text = f"the password for the key in {key_file!r} is wrong"
        elif not _has_certificate(certificate):
            text = f"there is no valid certificate in {certificate!r}; it must be in PEM format"
        else:
            text = f"there is no valid private key in {key_file!r}, or it is not for"
            text += f" the certificate in {certificate!r} ({error.reason or error})"
        raise SecurityError(text) from None
    except (OSError, ValueError) as error:  # a password that is too long is a ValueError
        text = f"cannot load the certificate {certificate!r} with the key {key_file!r}: {error}"
        raise SecurityError(text) from None


def _has_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _load_authorities(context: ssl.SSLContext, path: str, purpose: ssl.Purpose) -> None:
    """Load the certificates of those whom we trust to sign others.

    Raises:
        SecurityError: as :func:`server_context` says.
    """
    if not path:
        context.load_default_certs(purpose)
        return
    # What the user names is trusted, also if it is in the middle of a chain or at its end.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not os.path.isdir(path):
        _check_readable(path, "file of authorities")
        _load_authority(context, path)
        return
    # OpenSSL itself looks only for names that are hashes; people put certificates as they are.
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        text = f"cannot read the directory of authorities {path!r}: {error.strerror}"
        raise SecurityError(text) from None
    files = [name for name in names if Path(name).suffix in _CERTIFICATE_SUFFIXES]
    for name in files:
        _load_authority(context, os.path.join(path, name))
    if any(map(_HASHED_NAME.fullmatch, names)):
        context.load_verify_locations(capath=path)
    elif not files:
        raise SecurityError(f"there are no certificates in the directory {path!r}")


def _load_authority(context: ssl.SSLContext, path: str) -> None:
    """Load a file of certificates.

    Raises:
        SecurityError: there is none in it.
    """
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        text = f"there is no valid certificate in {path!r}; it must be in PEM format"
        raise SecurityError(f"{text} ({error})") from None


def _check_readable(path: str, noun: str) -> None:
    """Open a file, because OpenSSL does not say which one it could not.

    Raises:
        SecurityError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:  # a ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise SecurityError(f"cannot read the {noun} {path!r}: {reason}") from None
