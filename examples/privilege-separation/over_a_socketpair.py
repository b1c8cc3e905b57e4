"""A program that gives up its privileges, and a small child that keeps them.

The parent does the dangerous work: it talks to strangers. What still needs privileges it asks of
the child, over a socket pair, and only the child decides what it does. Here the privilege is to
read a file. Run it as root to see a real one: then the user id of the parent changes.
"""

import os
import pathlib
import socket
import tempfile

import pyroipc

NOBODY = 65534


class Keeper:
    """Lives in the child. Each exposed method is a door: there should be few, and narrow ones."""

    def __init__(self, path):
        self._path = path
        self._file = path.open(encoding="utf-8")
        path.chmod(0)  # nobody without privileges opens it from here on

    @pyroipc.expose
    def where(self):
        return str(self._path)

    @pyroipc.expose
    def is_password_of(self, user, word):
        self._file.seek(0)
        return f"{user}:{word}\n" in self._file.readlines()

    def close(self):
        self._file.close()


def keep_privileges(sock):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "passwords")
        path.write_text("ann:tulip\nbob:daisy\n", encoding="utf-8")
        keeper = Keeper(path)
        # The parent could be made to send anything, and unpickling can run code: no pickle here.
        daemon = pyroipc.Daemon(connected_socket=sock, serializers_accepted={"serpent"})
        daemon.register(keeper, "keeper")
        daemon.requestLoop()  # until the parent is gone
        keeper.close()


def drop_privileges():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


near, far = socket.socketpair()
child = os.fork()
if child == 0:
    near.close()
    keep_privileges(far)
    os._exit(0)
far.close()

with pyroipc.Proxy("keeper", connected_socket=near) as keeper:
    keeper._pyroSerializer = "serpent"
    where = keeper.where()  # connected, and what is needed is loaded, before the privileges go
    drop_privileges()

    try:
        pathlib.Path(where).read_text(encoding="utf-8")
    except PermissionError:
        print("the file itself: permission denied")
    print("is it tulip?", keeper.is_password_of("ann", "tulip"))
    print("is it daisy?", keeper.is_password_of("ann", "daisy"))
    try:
        keeper._pyroSerializer = "pickle"
    except pyroipc.SerializeError as error:
        print(str(error).partition(";")[0])

near.close()
_, status = os.waitpid(child, 0)
print("the child ended with", os.waitstatus_to_exitcode(status))

# Output:
#   the file itself: permission denied
#   is it tulip? True
#   is it daisy? False
#   the peer does not accept serializer 'pickle', only serpent
#   the child ended with 0
