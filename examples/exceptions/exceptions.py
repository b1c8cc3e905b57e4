"""Exceptions: they arrive as what they are, with the traceback of the place where they arose."""

import socket
import threading

import pyroipc


@pyroipc.expose
class Calculator:
    def divide(self, a, b):
        return a / b

    def parse(self, text):
        try:
            return int(text)
        except ValueError as error:
            error.add_note("numbers have digits only")
            raise


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
daemon.register(Calculator(), "calculator")
host = threading.Thread(target=daemon.requestLoop)
host.start()

calculator = pyroipc.Proxy("calculator", connected_socket=near)
try:
    calculator.divide(1, 0)
except ZeroDivisionError as error:
    print("caught:", error)
    lines = pyroipc.get_pyro_traceback()
    print("the remote line is shown:", any("return a / b" in line for line in lines))

try:
    calculator.parse("four")
except ValueError as error:
    print("caught:", error, error.__notes__)

try:
    calculator.multiply(2, 3)
except AttributeError as error:
    print("caught:", error)

print("still there:", calculator.divide(6, 3))
daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   caught: division by zero
#   the remote line is shown: True
#   caught: invalid literal for int() with base 10: 'four' ['numbers have digits only']
#   caught: remote object 'calculator' has no member 'multiply'; exposed: divide, parse
#   still there: 2.0
