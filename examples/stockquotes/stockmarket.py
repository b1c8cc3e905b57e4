"""A stock market, and somebody who looks at quotes. Nothing in here knows of another process."""

import itertools

import pyroipc


class StockMarket:
    def __init__(self, name, symbols):
        self._name = name
        self._prices = {symbol: 100 + 10 * i for i, symbol in enumerate(symbols)}

    @property
    @pyroipc.expose
    def name(self):
        return self._name

    @pyroipc.expose
    def symbols(self):
        return sorted(self._prices)

    @pyroipc.expose
    def quotes(self):
        """The quotes of a day, which never ends: symbol and price."""
        prices = self._prices.copy()
        # Prices go up and down in a way that is easy to check.
        for step, symbol in zip(itertools.cycle([3, -1, 4, -2]), itertools.cycle(prices)):
            prices[symbol] += step
            yield symbol, prices[symbol]


class Viewer:
    def __init__(self, markets):
        self._markets = markets

    def show(self, number):
        """Print the first quotes of each market, in turns."""
        quotes = [(market.name, market.quotes()) for market in self._markets]
        for _ in range(number):
            for name, stream in quotes:
                symbol, price = next(stream)
                print(f"{name}: {symbol} {price}")
        for _, stream in quotes:
            stream.close()
