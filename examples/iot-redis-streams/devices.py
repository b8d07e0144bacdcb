"""Plays the devices of a greenhouse: each adds its readings to a Redis stream."""

import contextlib
import itertools
import json
import os
import random
import time

from valkey import Valkey
from valkey.exceptions import ConnectionError

#: Unit, first value, step and upper limit, by the name of the device.
DEVICES = {
    "air": ("°C", 22.0, 0.3, 26.0),
    "soil": ("°C", 16.5, 0.1, 18.0),
    "humidity": ("%", 61.0, 1.0, 70.0),
    "light": ("klx", 18.0, 0.8, 25.0),
    "water-tank": ("l", 340.0, 4.0, 380.0),
    "carbon-dioxide": ("ppm", 420.0, 8.0, 480.0),
}


def main() -> None:
    """Measure for ever."""
    redis = Valkey(port=int(os.environ.get("REDIS_PORT", "6380")))
    values = {name: first for name, (_, first, _, _) in DEVICES.items()}
    for name, (unit, _, step, limit) in itertools.cycle(DEVICES.items()):
        before, values[name] = values[name], values[name] + random.uniform(-step, step)
        channels = [f"readings:{name}"]
        if before <= limit < values[name]:
            channels.append("alarms:all")
        reading = {
            "device": name,
            "value": round(values[name], 1),
            "unit": unit,
            "at": time.time(),
        }
        entry = {
            "payload": json.dumps(reading),
            "centrifugo-channels": ",".join(channels),
        }
        try:
            # The stream keeps about a thousand entries.
            redis.xadd("devices", entry, maxlen=1000, approximate=True)
        except ConnectionError:
            print("Valkey does not answer; trying again.", flush=True)
            time.sleep(1)
        time.sleep(0.25)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
