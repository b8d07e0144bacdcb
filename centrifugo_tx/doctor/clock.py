"""The clock of this machine, against Redis and the public URL."""

import time
from email.utils import parsedate_to_datetime

from .findings import Finding, ok, problem, warning

__all__ = ["check_date", "check_redis_clock"]

_CHECK = "clock"
#: Seconds of difference: with Redis; with HTTP, which counts whole seconds.
NOTICEABLE, NOTICEABLE_HTTP = 1.0, 3.0
#: Seconds of difference after which tokens are refused or live too long.
HARMFUL = 30.0

_REMEDY = "synchronize the clocks of all machines (chrony, systemd-timesyncd)"


def check_redis_clock(name: str, redis_time: float) -> list[Finding]:
    """Compare the clock with the time of a Redis; 0: Redis returned no time."""
    if not redis_time:
        return []
    return _compare(f"Redis at {name}", redis_time - time.time(), NOTICEABLE)


def check_date(where: str, date: str | None) -> list[Finding]:
    """Compare with the ``Date`` header of a response that came just now."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return []
    return _compare(where, told - time.time(), NOTICEABLE_HTTP)


def _compare(where: str, ahead: float, bound: float) -> list[Finding]:
    if abs(ahead) <= bound:
        return [ok(_CHECK, f"{where} has the same time, within {bound:g} s")]
    said = f"{where} is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) < HARMFUL:
        return [warning(_CHECK, said, _REMEDY)]
    return [problem(_CHECK, f"{said}: tokens expire too early or too late", _REMEDY)]
