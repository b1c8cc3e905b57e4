"""What serializers and messages of Pyro5 are as bytes, in hexadecimal, one per line."""

import datetime
import decimal
import marshal
import uuid

import Pyro5.api
import Pyro5.errors
from Pyro5 import protocol, serializers


class Priced:
    def __init__(self, price):
        self.price = price


VALUES = [
    None, True, 0, -5, 2**70, 1.5, "", "text ü", [], [1, [2]], {"a": [1]}, (1, 2),
    datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.date(2024, 1, 2), decimal.Decimal("1.5"),
    uuid.UUID(int=5), ValueError("x", 1), KeyError("k"), Pyro5.errors.NamingError("unknown"),
    Pyro5.api.URI("PYRO:a@b:1"), Pyro5.api.URI("PYRO:a@./u:/tmp/s"), Pyro5.api.URI("PYRONAME:n"),
    Priced(7), Pyro5.api.Proxy("PYRO:a@b:1"),
]  # fmt: skip


def attempt(name, function, *args):
    try:
        data = function(*args)
    except Exception as error:
        return type(error).__name__
    # marshal notes what the interpreter refers to only once, which is a matter of chance.
    return repr(marshal.loads(data)) if name == "marshal" else data.hex()


def main():
    Pyro5.api.register_class_to_dict(Priced, lambda obj: {"__class__": "Priced", "p": obj.price})
    for name in ("serpent", "json", "marshal", "msgpack"):
        serializer = serializers.serializers[name]
        assert serializers.serializers_by_id[serializer.serializer_id] is serializer
        print(name, serializer.serializer_id, type(serializer).__name__)
        for value in VALUES:
            print(name, type(value).__name__, attempt(name, serializer.dumps, value))
        call = serializer.dumpsCall("obj", "method", (1, "x"), {"k": [2]})
        print(name, "call", attempt(name, lambda data: data, call))
        print(name, "read", [list(part) if isinstance(part, tuple) else part
                             for part in serializer.loadsCall(call)])  # fmt: skip
    for annotations in (None, {"ABCD": b"zz"}, {"ABCD": bytearray(b"zz"), "EFGH": b""}):
        message = protocol.SendingMessage(protocol.MSG_INVOKE, 4, 7, 1, b"payload", annotations)
        print("message", message.data.hex())
    Pyro5.api.current_context.correlation_id = uuid.UUID(int=77)
    print("message", protocol.SendingMessage(protocol.MSG_RESULT, 1, 65535, 4, b"").data.hex())
    Pyro5.api.config.COMPRESSION = True
    for size in (100, 101):
        message = protocol.SendingMessage(protocol.MSG_INVOKE, 0, 1, 1, b"x" * size)
        print("compressed", message.flags, message.data.hex())


if __name__ == "__main__":
    main()
