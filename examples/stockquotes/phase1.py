"""Stock quotes, phase 1: a plain program. The marks in the classes cost nothing here."""

import stockmarket

nasdaq = stockmarket.StockMarket("NASDAQ", ["AAPL", "CSCO", "MSFT"])
newyork = stockmarket.StockMarket("NYSE", ["IBM", "HPQ"])

stockmarket.Viewer([nasdaq, newyork]).show(4)

# Output:
#   NASDAQ: AAPL 103
#   NYSE: IBM 103
#   NASDAQ: CSCO 109
#   NYSE: HPQ 109
#   NASDAQ: MSFT 124
#   NYSE: IBM 107
#   NASDAQ: AAPL 101
#   NYSE: HPQ 107
