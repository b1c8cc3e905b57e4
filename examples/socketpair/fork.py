"""An object in a child process, with the fork made by hand.

``pyroipc.spawn`` does all this and more: it watches the child, explains its death and stops it.
By hand it is right where the program has its own way of making processes.
"""

import os
import socket

import pyroipc


@pyroipc.expose
class Calculator:
    def __init__(self, total):
        self._total = total

    def add(self, *numbers):
        self._total += sum(numbers)
        return self._total

    def runs_in(self):
        return os.getpid()

    def crash(self):
        os._exit(3)


# The pair is made before the fork, so that each of the two processes can keep one end.
near, far = socket.socketpair()
pid = os.fork()

if pid == 0:  # the child
    # Close the end that is the parent's. If it stayed open here, the child would hold its own
    # connection open, and would not notice when the parent is gone.
    near.close()
    daemon = pyroipc.Daemon(connected_socket=far)
    daemon.register(Calculator(10), "calculator")
    daemon.requestLoop()  # returns when the parent is gone, or closes its end
    os._exit(0)  # not sys.exit: what runs at the end of the program is the parent's business

# The parent. Close the end that is the child's, or its death would go unnoticed.
far.close()
calculator = pyroipc.Proxy("calculator", connected_socket=near)

print(calculator.add(1, 2))
print(calculator.add(100))
print("it runs in the child:", calculator.runs_in() == pid)

try:
    calculator.crash()
except pyroipc.PeerDiedError as error:
    print("the child died:", error.pid == pid, "exit code", error.exitcode)

# The child is ours to wait for: pyroipc looked at how it ended and left it in place.
_, status = os.waitpid(pid, 0)
print("waitpid says:", os.waitstatus_to_exitcode(status))
near.close()

# Output:
#   13
#   113
#   it runs in the child: True
#   the child died: True exit code 3
#   waitpid says: 3
