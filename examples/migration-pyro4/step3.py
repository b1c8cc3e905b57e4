"""Step 3: the same program with pyroipc's own names, and what it can do without.

The library needs no converters for its books: a dataclass travels as what it is, once it is named.
"""

import sys
from dataclasses import dataclass

import pyroipc


@pyroipc.register_class
@dataclass
class Book:
    title: str
    year: int


@pyroipc.expose
class Reader:
    def __init__(self, name):
        self._name = name
        self._books = []

    @property
    def name(self):
        return self._name

    def borrow(self, book):
        if any(book.title == other.title for other in self._books):
            raise ValueError(f"{self._name} has {book.title} already")
        self._books.append(book)
        return len(self._books)


@pyroipc.expose
@pyroipc.behavior(instance_mode="single")
class Library:
    def reader(self, name):
        reader = Reader(name)
        pyroipc.current_context.daemon.register(reader)
        return reader

    def search(self, year):
        for title in ("Emma", "Persuasion"):
            yield Book(title, year)


def serve():
    with pyroipc.Daemon() as daemon:
        print(daemon.register(Library, "library"), flush=True)
        daemon.requestLoop()


def visit(uri):
    with pyroipc.Proxy(uri) as library, library.reader("Ada") as reader:
        books = list(library.search(1815))
        batch = pyroipc.batch(reader)
        for book in books:
            batch.borrow(book)
        print(reader.name, "has borrowed", list(batch()))
        again = reader.borrow.submit(books[0])
        try:
            print(again.result())
        except ValueError as error:
            print("refused:", error)
            print("raised in borrow:", "in borrow" in "".join(pyroipc.get_pyro_traceback()))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        visit(sys.argv[1])
