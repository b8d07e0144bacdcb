"""Checks of one Redis server: reachable, fast, a master, persistent, with the right
time.
"""

import time
from statistics import median

from ..engines.redis.connection import Refused
from ..errors import BrokerUnavailable
from .clock import check_redis_clock
from .findings import Finding, ok, problem, warning
from .redis_connection import RedisPeer, Send, as_text

__all__ = ["check_redis_server", "server_findings"]

_CHECK = "redis"
#: Seconds of a round trip beyond which each publication takes noticeably long.
SLOW = 0.01
_PINGS = 5
_NEARLY_FULL = 0.9


async def check_redis_server(peer: RedisPeer, has_history: bool) -> list[Finding]:
    """Check a server that must be a master.

    :param has_history: whether any channel keeps history.
    """
    try:
        seconds, info, redis_time = await peer.ask(_measure)
    except BrokerUnavailable as error:
        remedy = "start Redis, or correct the address, the user and the password"
        return [problem(_CHECK, str(error), remedy)]
    return [
        *server_findings(str(peer), seconds, info, has_history),
        *check_redis_clock(str(peer), redis_time),
    ]


def server_findings(
    peer: str, seconds: float, info: dict[str, str], has_history: bool
) -> list[Finding]:
    """Judge the seconds of a round trip, and the fields of ``INFO``."""
    name, version = _version(info)
    said = f"{peer}: {name} {version}, {seconds * 1000:.1f} ms a round trip"
    found = [ok(_CHECK, said)]
    if seconds > SLOW:
        found = [warning(_CHECK, said, "move Redis closer; each publication waits")]
    return [
        *found,
        *_check_role(peer, info),
        *_check_eviction(peer, info),
        *_check_persistence(peer, info, has_history),
    ]


async def _measure(send: Send) -> tuple[float, dict[str, str], float]:
    """Return the median round trip, the ``INFO`` fields, and the server's time.

    Where the user may not ask for the latter, they are empty and 0.
    """
    trips = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        try:
            await send(b"PING")
        except Refused as error:
            if error.code != "NOPERM":
                raise
        trips.append(time.perf_counter() - began)
    info: dict[str, str] = {}
    redis_time = 0.0
    try:
        lines = as_text(await send(b"INFO")).splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        began = time.perf_counter()
        seconds, micros = await send(b"TIME")
        redis_time = int(seconds) + int(micros) / 1e6
        redis_time += (time.perf_counter() - began) / 2
    except Refused as error:
        if error.code != "NOPERM":
            raise
    return median(trips), info, redis_time


def _version(info: dict[str, str]) -> tuple[str, str]:
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    return "Redis", info.get("redis_version", "of unknown version")


def _check_role(peer: str, info: dict[str, str]) -> list[Finding]:
    if info.get("role", "master") == "master":
        return []
    return [
        problem(
            _CHECK,
            f"{peer} is a replica: publishing fails",
            "give the address of the master, or use sentinel_address",
        )
    ]


def _check_eviction(peer: str, info: dict[str, str]) -> list[Finding]:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = info.get("maxmemory_policy", "noeviction")
    if not most:
        return [ok(_CHECK, f"{peer}: no memory limit")] if info else []
    mib = f"{used // 2**20} of {most // 2**20} MiB used"
    if policy != "noeviction":
        return [
            warning(
                _CHECK,
                f"{peer}: maxmemory-policy {policy} removes the history and presence"
                f" of channels when memory is full ({mib})",
                "CONFIG SET maxmemory-policy noeviction, and watch the memory",
            )
        ]
    if used > _NEARLY_FULL * most:
        return [
            warning(
                _CHECK,
                f"{peer}: {mib}; when it is full, publishing with history fails",
                "raise maxmemory, or shorten history_ttl and history_meta_ttl",
            )
        ]
    return [ok(_CHECK, f"{peer}: {mib}, policy {policy}")]


def _check_persistence(
    peer: str, info: dict[str, str], has_history: bool
) -> list[Finding]:
    for field, command in (
        ("rdb_last_bgsave_status", "BGSAVE"),
        ("aof_last_write_status", "writing the AOF"),
    ):
        if info.get(field, "ok") != "ok":
            return [
                problem(
                    _CHECK,
                    f"{peer}: {command} failed last time; Redis may refuse all writes",
                    "see the log of Redis: disk space and permissions of its folder",
                )
            ]
    if has_history and info.get("aof_enabled") == "0":
        return [
            ok(
                _CHECK,
                f"{peer}: without AOF a restart of Redis may lose history; clients"
                " that recover are then told so",
            )
        ]
    return []
