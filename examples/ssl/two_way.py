"""TLS in both directions: the client makes sure of the server, and the server of its clients.

Both show a certificate. That an authority has signed it is checked before anything else is said;
whose it is, the daemon looks at in the handshake.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import certificates

import pyroipc


@pyroipc.expose
class Safe:
    def open(self):
        client = pyroipc.current_context.client
        return f"opened for {client.user}"


class Guarded(pyroipc.Daemon):
    def validateHandshake(self, conn, data):
        certificate = conn.getpeercert()
        subject = {key: value for pairs in certificate["subject"] for key, value in pairs}
        if subject["commonName"] not in {"ann", "bob"}:
            raise pyroipc.SecurityError(f"{subject['commonName']} is not on the list")
        conn.user = f"{subject['commonName']} of the {subject['organizationalUnitName']}"
        return super().validateHandshake(conn, data)


def serve():
    # Everything about TLS is in the settings, and these come from the environment.
    with Guarded() as daemon:
        print(daemon.register(Safe(), "safe"), flush=True)
        daemon.requestLoop()


@contextlib.contextmanager
def server(authority, certificate, log):
    command = [sys.executable, __file__, "serve"]
    settings = {
        "PYRO_SSL": "1",
        "PYRO_SSL_SERVERCERT": str(certificate),  # with its key; or that in PYRO_SSL_SERVERKEY
        "PYRO_SSL_REQUIRECLIENTCERT": "1",
        "PYRO_SSL_CACERTS": str(authority),  # who signs the certificates of clients
        "PYRO_LOGFILE": str(log),  # it tells of those who were refused, and why
        "PYRO_LOGLEVEL": "WARNING",
    }
    environment = os.environ | settings
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def attempt(what, uri, authority, certificate=None):
    settings = pyroipc.config.copy()
    settings.SSL = True
    settings.SSL_CACERTS = str(authority)
    settings.SSL_CLIENTCERT = str(certificate or "")
    try:
        with pyroipc.Proxy(uri, settings=settings) as safe:
            print(f"{what}: {safe.open()}")
    except (pyroipc.SecurityError, pyroipc.CommunicationError) as error:
        print(f"{what}:", reason(error))


def reason(error):
    """Return the text without the address and without the advice at its end."""
    text = re.sub(r"^cannot connect to \S+: |^.* rejected: |the certificate of ", "", str(error))
    return re.split(r";| \(|: give", text)[0]


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        authority = certificates.make_authority(directory)
        stranger = certificates.make_authority(directory, "stranger")
        hosts = {"safe": "localhost", "ann": "ann.example", "eve": "eve.example"}
        own = {
            name: certificates.make_certificate(directory, name, host)
            for name, host in hosts.items()
        }
        with server(authority, own["safe"], directory / "server.log") as uri:
            attempt("ann", uri, authority, own["ann"])
            attempt("eve", uri, authority, own["eve"])
            attempt("nobody", uri, authority)
            attempt("wrong authority", uri, stranger, own["ann"])
            attempt("wrong host", uri.replace("localhost", "127.0.0.1"), authority, own["ann"])
            try:
                with pyroipc.Proxy(uri) as safe:
                    safe.open()
            except pyroipc.SecurityError as error:
                print("no TLS:", reason(error))


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve()
    else:
        main()

# Output:
#   ann: opened for ann of the friends
#   eve: eve is not on the list
#   nobody: the server has refused the TLS connection: it requires a client certificate
#   wrong authority: the server was refused: no authority that is trusted here has signed it
#   wrong host: the server was refused: it is not for '127.0.0.1'
#   no TLS: this daemon speaks TLS only
