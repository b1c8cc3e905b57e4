"""Flame over a unix socket, as users of Pyro4 write it: python flames.py PATH."""

import os
import sys
import threading

import Pyro4
import Pyro4.utils.flame

Pyro4.config.FLAME_ENABLED = True
Pyro4.config.SERIALIZER = "pickle"
Pyro4.config.SERIALIZERS_ACCEPTED = {"pickle"}


def main():
    path = sys.argv[1]
    daemon = Pyro4.Daemon(unixsocket=path)
    uri = Pyro4.utils.flame.start(daemon)
    assert uri.object == "Pyro.Flame"
    loop = threading.Thread(target=daemon.requestLoop)
    loop.start()
    flame = Pyro4.utils.flame.connect("./u:" + path)
    assert flame.module("os").getpid() == os.getpid()
    assert flame.module("os").path.join("a", "b") == "a/b"
    assert flame.builtin("max")([3, 9, 4]) == 9
    flame.execute("answer = 6 * 7")
    assert flame.evaluate("answer") == 42
    flame.sendmodule("letters.greeting", "def greet(who):\n    return 'hello ' + who\n")
    assert flame.module("letters.greeting").greet("you") == "hello you"
    assert "def join" in flame.getmodule("posixpath")
    flame.sendfile(path + ".file", b"some bytes")
    assert flame.getfile(path + ".file") == b"some bytes"
    assert os.stat(path + ".file").st_mode & 0o077 == 0
    with flame.console() as console:
        assert console.remoteconsole.push_and_get_output("6 * 7") == ("42\n", False)
    module = Pyro4.utils.flame.createModule("made.here", "number = 5", namespace=globals())
    assert made.here is module  # noqa: F821 - it was put there
    flame._pyroRelease()
    daemon.shutdown()
    loop.join(10)
    assert not loop.is_alive()
    daemon.close()
    print("flames", flush=True)


if __name__ == "__main__":
    main()
