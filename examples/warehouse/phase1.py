"""The warehouse, phase 1: people bring things and take things, all in one program.

There is nothing remote in this. Phase 2 takes the two classes as they are.
"""


class Warehouse:
    def __init__(self):
        self._contents = ["chair", "bike", "flashlight", "laptop", "couch"]

    def contents(self):
        return list(self._contents)

    def store(self, who, thing):
        self._contents.append(thing)
        return f"{who} stored the {thing}"

    def take(self, who, thing):
        self._contents.remove(thing)  # a ValueError if it is not there
        return f"{who} took the {thing}"


class Person:
    def __init__(self, name):
        self._name = name

    def visit(self, warehouse, *, bring, want):
        print(f"{self._name} sees:", ", ".join(warehouse.contents()))
        print(warehouse.store(self._name, bring))
        try:
            print(warehouse.take(self._name, want))
        except ValueError:
            print(f"{self._name} looked for the {want} in vain")


def visits(warehouse):
    Person("Janet").visit(warehouse, bring="lamp", want="bike")
    Person("Henry").visit(warehouse, bring="radio", want="bike")
    print("now there are:", ", ".join(warehouse.contents()))


if __name__ == "__main__":
    visits(Warehouse())

# Output:
#   Janet sees: chair, bike, flashlight, laptop, couch
#   Janet stored the lamp
#   Janet took the bike
#   Henry sees: chair, flashlight, laptop, couch, lamp
#   Henry stored the radio
#   Henry looked for the bike in vain
#   now there are: chair, flashlight, laptop, couch, lamp, radio
