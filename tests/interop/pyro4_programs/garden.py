"""What server and client of the garden share: a class, and how it is sent."""

import Pyro4


class Plant:
    def __init__(self, name, height):
        self.name = name
        self.height = height

    def __eq__(self, other):
        return (self.name, self.height) == (other.name, other.height)

    __hash__ = None


def plant_to_dict(plant):
    return {"__class__": "garden.Plant", "name": plant.name, "height": plant.height}


def dict_to_plant(classname, data):
    return Plant(data["name"], data["height"])


Pyro4.util.SerializerBase.register_class_to_dict(Plant, plant_to_dict)
Pyro4.util.SerializerBase.register_dict_to_class("garden.Plant", dict_to_plant)
