"""What server and client of these programs share: a class of their own, and how it travels."""

import Pyro5.api


class Article:
    def __init__(self, name, price):
        self.name = name
        self.price = price

    def __eq__(self, other):
        return isinstance(other, Article) and vars(self) == vars(other)

    __hash__ = None


class OutOfStock(Exception):
    pass


def article_to_dict(article):
    return {"__class__": "shop.Article", "name": article.name, "price": article.price}


def dict_to_article(classname, data):
    assert classname == "shop.Article"
    return Article(data["name"], data["price"])


Pyro5.api.register_class_to_dict(Article, article_to_dict)
Pyro5.api.register_dict_to_class("shop.Article", dict_to_article)
