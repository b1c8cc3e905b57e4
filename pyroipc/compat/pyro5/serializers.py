"""``Pyro5.serializers``: serializers as objects, and the registries of classes."""

from __future__ import annotations

from importlib.util import find_spec

from pyroipc.compat.codecs import Codec
from pyroipc.compat.pyro5._settings import config
from pyroipc.serializers.classes import (
    register_class_to_dict,
    register_dict_to_class,
    unregister_class_to_dict,
    unregister_dict_to_class,
)

__all__ = [
    "JsonSerializer",
    "MarshalSerializer",
    "MsgpackSerializer",
    "SerializerBase",
    "SerpentSerializer",
    "config",
    "register_class_to_dict",
    "register_dict_to_class",
    "serializers",
    "serializers_by_id",
    "unregister_class_to_dict",
    "unregister_dict_to_class",
]


class SerializerBase(Codec):
    """The base of all serializers."""


class SerpentSerializer(SerializerBase):
    """Serpent: Python literals."""

    serializer_id = 1
    _name = "serpent"


class MarshalSerializer(SerializerBase):
    """Python's own marshal: fast, and only for peers that are trusted."""

    serializer_id = 2
    _name = "marshal"


class JsonSerializer(SerializerBase):
    """JSON."""

    serializer_id = 3
    _name = "json"


class MsgpackSerializer(SerializerBase):
    """MessagePack."""

    serializer_id = 4
    _name = "msgpack"


serializers: dict[str, SerializerBase] = {
    "serpent": SerpentSerializer(),
    "marshal": MarshalSerializer(),
    "json": JsonSerializer(),
}
if find_spec("msgpack") is not None:
    serializers["msgpack"] = MsgpackSerializer()
serializers_by_id: dict[int, SerializerBase] = {
    serializer.serializer_id: serializer for serializer in serializers.values()
}
