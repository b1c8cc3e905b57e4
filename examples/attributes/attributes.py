"""Attributes of a remote object: properties, special methods, and what stays closed."""

import socket
import threading

import pyroipc


class Thermostat:
    def __init__(self):
        self._target = 20
        self._history = [19, 20]
        self.owner = "nobody"  # a plain attribute: never reachable

    @pyroipc.expose
    @property
    def target(self):
        return self._target

    @target.setter  # of the same class as the exposed getter, so it is exposed with it
    def target(self, degrees):
        if not 5 <= degrees <= 30:
            raise ValueError("between 5 and 30 degrees, please")
        self._history.append(degrees)
        self._target = degrees

    @pyroipc.expose
    @property
    def highest(self):
        return max(self._history)

    @pyroipc.expose
    def __len__(self):
        return len(self._history)

    @pyroipc.expose
    def __getitem__(self, index):
        return self._history[index]

    @property
    def serial_number(self):  # not exposed: its code is not even run
        raise AssertionError


near, far = socket.socketpair()
daemon = pyroipc.Daemon(connected_socket=far)
daemon.register(Thermostat(), "thermostat")
host = threading.Thread(target=daemon.requestLoop)
host.start()

thermostat = pyroipc.Proxy("thermostat", connected_socket=near)
print("the target is", thermostat.target)
thermostat.target = 22
print("the target is", thermostat.target)
print("highest:", thermostat.highest, "of", len(thermostat), "and the first was", thermostat[0])

try:
    thermostat.target = 99
except ValueError as error:
    print("refused:", error)

try:
    thermostat.highest = 5
except AttributeError as error:
    print("refused:", error)

for name in ("owner", "serial_number", "_history", "taget"):
    try:
        getattr(thermostat, name)
    except AttributeError:
        print("cannot be read:", name)

daemon.shutdown()
host.join()
near.close()
far.close()

# Output:
#   the target is 20
#   the target is 22
#   highest: 22 of 3 and the first was 19
#   refused: between 5 and 30 degrees, please
#   refused: attribute 'highest' is read-only for remote callers
#   cannot be read: owner
#   cannot be read: serial_number
#   cannot be read: _history
#   cannot be read: taget
