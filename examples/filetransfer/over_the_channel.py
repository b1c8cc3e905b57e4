"""A file over the connection of the proxy: fetched and sent piece by piece, and resumed."""

import pathlib
import tempfile

import pyroipc


class UnpluggedError(Exception):
    """The user has pulled the plug."""


def serve(directory):
    """Return a daemon at a TCP port, as on another machine, and the URI of its files."""
    daemon = pyroipc.Daemon()
    uri = daemon.register(pyroipc.FileServer(directory, writable=True), "files")
    return daemon, uri


class Host:
    """Runs the daemon in a child."""

    def __init__(self, directory):
        import threading

        self.daemon, self.uri = serve(directory)
        threading.Thread(target=self.daemon.requestLoop, daemon=True).start()

    def address(self):
        return str(self.uri)

    def stop(self):
        self.daemon.shutdown()


def pull_the_plug(done, total):
    if done >= total // 2:
        raise UnpluggedError


with tempfile.TemporaryDirectory() as name:
    here = pathlib.Path(name)
    there = here / "served"
    there.mkdir()
    (there / "film").write_bytes(b"picture " * 1_000_000)

    with pyroipc.spawn(Host, there) as host, pyroipc.Proxy(host.address()) as files:
        try:
            pyroipc.fetch_file(files, "film", here / "film", progress=pull_the_plug)
        except UnpluggedError:
            print("interrupted; the film is there:", (here / "film").exists())

        begins = []
        pyroipc.fetch_file(
            files, "film", here / "film", progress=lambda done, total: begins.append(done)
        )
        print("it went on in the middle:", begins[0] >= 4_000_000)
        print("the film is there:", (here / "film").stat().st_size, "bytes")

        pyroipc.send_file(files, here / "film", "copy")
        print("sent back:", (there / "copy").read_bytes() == (there / "film").read_bytes())
        host.stop()

# Output:
#   interrupted; the film is there: False
#   it went on in the middle: True
#   the film is there: 8000000 bytes
#   sent back: True
