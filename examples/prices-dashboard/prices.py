"""Invents an exchange: publishes its board of prices, and each trade."""

import contextlib
import os
import random
import time

from cent import CentNetworkError, Client, PublishRequest

API_KEY = "call-the-api-with-a-long-random-secret"
API_URL = os.environ.get("CENTRIFUGO_API_URL", "http://localhost:8000/api")

#: Name, sector and first price, by symbol.
STOCKS: dict[str, tuple[str, str, float]] = {
    "ALBA": ("Alba Rail", "transport", 48.1),
    "BORE": ("Boreal Air", "transport", 17.9),
    "CIRR": ("Cirrus Ferries", "transport", 92.3),
    "DUNE": ("Dune Solar", "energy", 134.6),
    "EDDY": ("Eddy Tidal", "energy", 28.7),
    "FERN": ("Fern Biogas", "energy", 61.2),
    "GLEN": ("Glen Foods", "food", 75.4),
    "HAZE": ("Hazel Bakeries", "food", 39.5),
    "IBEX": ("Ibex Dairy", "food", 110.8),
}


def main() -> None:
    """Trade for ever."""
    centrifugo = Client(API_URL, API_KEY)
    # The prices of each stock's latest trades.
    prices = {symbol: [price] for symbol, (_, _, price) in STOCKS.items()}
    for trades in prices.values():
        while len(trades) < 40:
            trades.append(next_price(trades))
    while True:
        symbol = random.choice(list(STOCKS))
        prices[symbol] = [*prices[symbol][1:], next_price(prices[symbol])]
        # The whole board each time: subscribers receive what has changed of it.
        board = {
            each: {"name": STOCKS[each][0], "prices": trades}
            for each, trades in prices.items()
        }
        trade = {
            "symbol": symbol,
            "price": prices[symbol][-1],
            "pieces": random.randint(1, 900),
        }
        tags = {"symbol": symbol, "sector": STOCKS[symbol][1]}
        try:
            centrifugo.publish(PublishRequest(channel="board:all", data=board))
            centrifugo.publish(
                PublishRequest(channel="trades:all", data=trade, tags=tags)
            )
        except CentNetworkError:
            print("The server does not answer; trying again.", flush=True)
            time.sleep(1)
        time.sleep(0.25)


def next_price(trades: list[float]) -> float:
    """Return a price near the latest."""
    return round(trades[-1] * random.gauss(1, 0.008), 2)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
