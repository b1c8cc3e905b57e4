"""pyroipc/serializers/marshal.py: for trusted peers; Pyro's traps are not copied."""

import array
import collections
import datetime
import enum
import uuid

import pytest

from pyroipc.errors import SerializeError
from pyroipc.serializers import table

serializer = table.get("marshal")


class Thing:
    def __init__(self):
        self.a = 1


def test_attribute_access_and_batches_have_no_kwargs():
    payload = serializer.dumps_call("o", "__getattr__", ("x",), None)
    assert serializer.loads_call(payload) == ("o", "__getattr__", ["x"], None)


def test_natives_keep_their_types():
    value = [(1, 2.5), {3}, frozenset([4]), {(5,): b"x"}, 1j, None, True, "\udc80"]
    assert serializer.loads(serializer.dumps(value)) == value


def test_plain_values_stand_for_some_classes():
    values = {
        uuid.UUID(int=5): "00000000-0000-0000-0000-000000000005",
        enum.IntEnum("E", {"A": 6}).A: 6,
        enum.StrEnum("S", {"A": "text"}).A: "text",
        collections.namedtuple("P", "a b")(1, 2): (1, 2),
    }
    for value, expected in values.items():
        for wrapped, plain in ((value, expected), ([value], [expected])):
            back = serializer.loads(serializer.dumps(wrapped))
            assert back == plain
            assert type(back) is type(plain)
    assert serializer.loads(serializer.dumps(array.array("i", [1, 2]))) == [1, 2]


def test_numpy_scalars_at_the_top_are_numbers():
    numpy = pytest.importorskip("numpy")
    assert serializer.loads(serializer.dumps(numpy.float64(1.5))) == 1.5


def test_nested_instances_are_described_like_those_at_the_top():
    with pytest.raises(SerializeError, match="unsupported serialized class"):
        serializer.loads(serializer.dumps([{"k": (Thing(),)}]))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"[\xff\xff\xff\x7f", b"(", b"i\x01"])
def test_refused(payload):
    with pytest.raises(SerializeError):
        serializer.loads(payload)


def test_unmarshallable():
    with pytest.raises(SerializeError, match=r"marshal cannot encode|don't know how"):
        serializer.dumps([datetime.timedelta])
    cycle = []
    cycle.append([cycle, object()])
    with pytest.raises(SerializeError, match="nested too deep"):
        serializer.dumps(cycle)
