"""An authority and the certificates it signs, made with the command ``openssl``.

For tests and demonstrations. What you use in earnest comes from an authority that your company
has, or from a tool that also looks after the keys and renews certificates in time.
"""

import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_authority(directory, name="authority"):
    """Make a key and a certificate that is signed with it; return the path of the certificate."""
    certificate = directory / f"{name}.pem"
    key = directory / f"{name}.key"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *new_key, "-keyout", key, "-out", certificate, "-days", 30),
        *("-subj", f"/O=An example/CN={name}"),
    )
    return certificate


def make_certificate(directory, name, host, authority="authority"):
    """Make a key and a certificate for it; return one file with both.

    ``name`` says whose it is, and ``host`` is what a client must ask for, if it is a server's.
    """
    key, request, signed = (directory / f"{name}.{suffix}" for suffix in ("key", "req", "crt"))
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", *new_key, "-keyout", key, "-out", request),
        *("-subj", f"/O=An example/OU=friends/CN={name}"),
    )
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
    openssl(
        *("x509", "-req", "-in", request, "-out", signed, "-days", 30, "-extfile", extensions),
        *("-CA", directory / f"{authority}.pem", "-CAkey", directory / f"{authority}.key"),
        "-CAcreateserial",
    )
    both = directory / f"{name}.pem"
    both.touch(mode=0o600)  # a key is for its owner only
    both.write_text(key.read_text() + signed.read_text())
    return both
