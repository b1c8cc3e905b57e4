"""Step 2: the same program on pyroipc. Two lines are new, and nothing else has changed."""

import sys

from pyroipc.compat import install_as

install_as("Pyro4")

import Pyro4  # noqa: E402


class Book:
    def __init__(self, title, year):
        self.title = title
        self.year = year


def book_to_dict(book):
    return {"__class__": "library.Book", "title": book.title, "year": book.year}


def dict_to_book(classname, data):
    return Book(data["title"], data["year"])


Pyro4.util.SerializerBase.register_class_to_dict(Book, book_to_dict)
Pyro4.util.SerializerBase.register_dict_to_class("library.Book", dict_to_book)


@Pyro4.expose
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


@Pyro4.expose
@Pyro4.behavior(instance_mode="single")
class Library:
    def reader(self, name):
        reader = Reader(name)
        self._pyroDaemon.register(reader)  # so it is called where it is, and not copied
        return reader

    def search(self, year):
        for title in ("Emma", "Persuasion"):
            yield Book(title, year)


def serve():
    with Pyro4.Daemon() as daemon:
        print(daemon.register(Library, "library"), flush=True)
        daemon.requestLoop()


def visit(uri):
    with Pyro4.Proxy(uri) as library, library.reader("Ada") as reader:
        books = list(library.search(1815))
        batch = Pyro4.batch(reader)
        for book in books:
            batch.borrow(book)
        print(reader.name, "has borrowed", list(batch()))
        Pyro4.asyncproxy(reader)
        again = reader.borrow(books[0])
        try:
            print(again.value)
        except ValueError as error:
            print("refused:", error)
            print("raised in borrow:", "in borrow" in "".join(Pyro4.util.getPyroTraceback()))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        visit(sys.argv[1])
