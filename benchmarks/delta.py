"""The savings of deltas on feeds of similar payloads, and their cost."""

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from centrifugo_tx.core.channel.encoded_publication import EncodedPublication
from centrifugo_tx.protocol.delta import apply, make
from centrifugo_tx.protocol.messages import Publication
from centrifugo_tx.protocol.payloads import checked
from centrifugo_tx.protocol.wire import Wire, websocket_json, websocket_protobuf

from .measures import Bench, Comparison, Figure, Rounds

__all__ = ["deltas"]

#: Updates of one feed.
UPDATES = 1_000

Feed = Callable[[random.Random], Iterator[Any]]


def _tickers(chance: random.Random) -> Iterator[Any]:
    """A price feed, in which the price and the top of the order book change."""
    price, volume = 41_234.5, 12_345.678
    while True:
        step = chance.choice([-1.5, -0.5, 0.5, 1.0, 2.5])
        price, volume = price + step, volume + chance.random()
        yield {
            "symbol": "BTC-EUR",
            "exchange": "somewhere",
            "time": 1_790_000_000_000 + int(volume * 1_000),
            "last": round(price, 2),
            "volume": round(volume, 3),
            "day": {"open": 40_980.0, "high": 42_310.5, "low": 40_512.0},
            "bids": [[round(price - n, 2), 1.25 + n % 3] for n in range(1, 7)],
            "asks": [[round(price + n, 2), 0.75 + n % 4] for n in range(1, 7)],
            "halted": False,
            "currency": {"base": "BTC", "quote": "EUR", "digits": 2},
        }


def _positions(chance: random.Random) -> Iterator[Any]:
    """A bus that moves along its line and sometimes passes a stop."""
    latitude, longitude = 50.9413, 6.9583
    stops = [f"Stop {n}, Große Straße" for n in range(1, UPDATES)]
    for n in range(UPDATES * 2):
        latitude += chance.uniform(0, 0.0003)
        longitude += chance.uniform(-0.0003, 0.0003)
        done = n // 20
        yield {
            "vehicle": {"id": "bus-4711", "kind": "bus", "seats": 48, "ramp": True},
            "line": {"name": "132", "towards": "Meschenich", "operator": "City"},
            "position": {"lat": round(latitude, 6), "lon": round(longitude, 6)},
            "speed": round(chance.uniform(20, 50), 1),
            "heading": 180 + n % 7,
            "delay": n // 30,
            "next": stops[done : done + 6],
            "time": 1_790_000_000 + n * 5,
        }


FEEDS: dict[str, Feed] = {"tickers": _tickers, "positions": _positions}


def _payloads(feed: Feed) -> list[bytes]:
    """Return the first updates of a feed, which are always the same."""
    updates = feed(random.Random(1))
    return [
        json.dumps(next(updates), separators=(",", ":"), ensure_ascii=False).encode()
        for _ in range(UPDATES)
    ]


def deltas(bench: Bench) -> Iterator[Figure]:
    """The size of pushes with and without deltas, and the time to make a delta."""
    costs: Rounds = {}
    for name, feed in FEEDS.items():
        payloads = _payloads(feed)
        mean = sum(map(len, payloads)) / len(payloads)
        yield Figure(
            f"Pushes of {name}, payloads of {mean:.0f} bytes",
            "bytes per push",
            _sizes(payloads),
            [
                Comparison("JSON", "JSON, deltas"),
                Comparison("JSON", "JSON, deflate"),
                Comparison("Protobuf", "Protobuf, deltas"),
            ],
        )
        costs[name] = [_seconds(payloads) * 1e6 for _ in range(bench.rounds)]
    yield Figure("Making a delta, once per publication", "µs", costs)


def _sizes(payloads: list[bytes]) -> Rounds:
    """Return the mean size of a WebSocket frame, with and without deltas."""
    binary, text, deflate = websocket_protobuf(), websocket_json(), websocket_json(1)
    return {
        "JSON": [_mean(payloads, text, EncodedPublication.plain)],
        "JSON, deflate": [_mean(payloads, deflate, EncodedPublication.plain)],
        "JSON, deltas": [_mean(payloads, text, EncodedPublication.change)],
        "Protobuf": [_mean(payloads, binary, EncodedPublication.plain)],
        "Protobuf, deltas": [_mean(payloads, binary, EncodedPublication.change)],
    }


def _mean(payloads: list[bytes], wire: Wire, form: Callable[..., Any]) -> float:
    total = 0
    previous: Publication | None = None
    for offset, payload in enumerate(payloads, 1):
        publication = Publication(data=checked(payload), offset=offset)
        encoded = EncodedPublication("feed:of-one-thing", publication, previous)
        total += len(wire.push(form(encoded, wire)))
        previous = publication
    return total / len(payloads)


def _seconds(payloads: list[bytes]) -> float:
    """Return the mean time to make a delta between successive updates."""
    pairs = list(pairwise(payloads))
    began = time.perf_counter()
    made = [make(base, target) for base, target in pairs]
    taken = time.perf_counter() - began
    for (base, target), delta in zip(pairs, made, strict=True):
        assert apply(base, delta) == target
    return taken / len(pairs)
