"""Certificates for tests: made on the spot by trustme, written to files, never kept."""

from __future__ import annotations

import datetime
import os
from typing import NamedTuple

import trustme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "open sesame"


class Identity(NamedTuple):
    """The files of one certificate."""

    certificate: str
    key: str


class Authority:
    """An authority of the tests' own, which writes all its files into one directory."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory = directory
        self._ca = trustme.CA(organization_name=f"{name} of the tests")
        self._count = 0
        self.file = self._write(f"{name}.pem", self._ca.cert_pem.bytes())

    def issue(
        self, *names: str, valid_days: tuple[float, float] = (-1, 30), common_name: str = ""
    ) -> Identity:
        """Sign a certificate for host names or addresses; ``valid_days`` count from now."""
        now = datetime.datetime.now(datetime.UTC)
        begin, end = (now + datetime.timedelta(days=days) for days in valid_days)
        cert = self._ca.issue_cert(
            *names, common_name=common_name or None, not_before=begin, not_after=end
        )
        self._count += 1
        chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
        return Identity(
            self._write(f"certificate{self._count}.pem", chain),
            self._write(f"key{self._count}.pem", cert.private_key_pem.bytes()),
        )

    def _write(self, name: str, data: bytes) -> str:
        path = self.directory / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        return str(path)


def encrypted_key(identity: Identity, password: str = PASSWORD) -> str:
    """Write the key of a certificate once more, encrypted; return the path."""
    from cryptography.hazmat.primitives import serialization

    with open(identity.key, "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    path = f"{identity.key}.encrypted"
    with open(path, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password.encode()),
            )
        )
    return path
