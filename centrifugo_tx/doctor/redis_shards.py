"""All Redis servers that the configuration names, Sentinels and Clusters included."""

from typing import Any

from ..config.model import Config
from ..engines.redis.addresses import ShardAddress, TCPAddress, shard_addresses
from ..engines.redis.connection import Refused
from ..engines.redis.options import RedisConnectionOptions
from ..errors import BrokerUnavailable, ConfigError
from .findings import Finding, ok, problem, warning
from .redis_connection import RedisPeer, Send, as_text
from .redis_server import check_redis_server

__all__ = ["check_redis", "redis_addresses"]

_CHECK = "redis"
_SLOTS = "16384"


def redis_addresses(config: Config) -> list[ShardAddress]:
    """Return each address once, of the engine and everything else that is in use."""
    found: list[RedisConnectionOptions] = []
    broker, presence = config.broker, config.presence_manager
    if config.engine.type == "redis" and not (broker.enabled and presence.enabled):
        found.append(config.engine.redis)
    if broker.enabled and broker.type == "redis":
        found.append(broker.redis)
    if presence.enabled and presence.type == "redis":
        found.append(presence.redis)
    if config.map_broker.type == "redis":
        found.append(config.map_broker.redis)
    found += [
        each.redis_stream
        for each in config.consumers
        if each.enabled and each.type == "redis_stream"
    ]
    return list(dict.fromkeys(one for each in found for one in shard_addresses(each)))


async def check_redis(reactor: Any, config: Config) -> list[Finding]:
    """Check every address; empty without Redis."""
    spaces = (config.channel.without_namespace, *config.channel.namespaces)
    has_history = any(each.history_size > 0 for each in spaces)
    found: list[Finding] = []
    try:
        for address in redis_addresses(config):
            found += await _check_address(reactor, address, has_history)
    except ConfigError as error:
        found.append(problem(_CHECK, str(error), "correct it in the configuration"))
    return found


async def _check_address(
    reactor: Any, address: ShardAddress, has_history: bool
) -> list[Finding]:
    if address.kind == "sentinel":
        found, masters = await _check_sentinels(reactor, address)
    elif address.kind == "single" and len(address.nodes) == 1:
        peer = _peer(reactor, address, address.nodes[0])
        # The server behind one address may be part of a Cluster.
        try:
            is_cluster = await peer.ask(_is_cluster)
        except BrokerUnavailable:
            is_cluster = False
        found, masters = [], [peer]
        if is_cluster:
            found, masters = await _check_cluster(reactor, address)
    else:
        found, masters = await _check_cluster(reactor, address)
    for each in masters:
        found += await check_redis_server(each, has_history)
    return found


def _peer(reactor: Any, address: ShardAddress, node: Any) -> RedisPeer:
    timeouts = address.connect_timeout, address.io_timeout
    return RedisPeer(reactor, node, address.login, *timeouts)


async def _is_cluster(send: Send) -> bool:
    try:
        return "cluster_enabled:1" in as_text(await send(b"INFO", b"cluster"))
    except Refused:
        return False


async def _check_sentinels(
    reactor: Any, address: ShardAddress
) -> tuple[list[Finding], list[RedisPeer]]:
    """Return the findings about the Sentinels, and the master that they name."""
    name = address.master_name
    masters: dict[TCPAddress, list[str]] = {}
    found: list[Finding] = []

    async def named(send: Send) -> TCPAddress | None:
        reply = await send(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.encode())
        return TCPAddress(as_text(reply[0]), int(reply[1])) if reply else None

    for node in address.nodes:
        login = address.sentinel_login
        timeouts = address.connect_timeout, address.io_timeout
        sentinel = RedisPeer(reactor, node, login, *timeouts)
        try:
            master = await sentinel.ask(named)
        except BrokerUnavailable as error:
            remedy = "start it, or remove it from sentinel_address"
            found.append(warning(_CHECK, f"Sentinel at {node}: {error}", remedy))
            continue
        if master is None:
            said = f"the Sentinel at {node} does not know the master {name!r}"
            remedy = "correct sentinel_master_name, or let it monitor that master"
            found.append(problem(_CHECK, said, remedy))
            continue
        masters.setdefault(master, []).append(str(node))
    if len(masters) > 1:
        said = "; ".join(
            f"{master} says {', '.join(nodes)}" for master, nodes in masters.items()
        )
        remedy = "wait until a failover has ended, or repair the Sentinels"
        found.append(
            problem(_CHECK, f"Sentinels name different masters: {said}", remedy)
        )
    if not masters:
        remedy = "without a Sentinel no master is found, and the server cannot start"
        found.append(problem(_CHECK, f"no Sentinel of {address} answers", remedy))
    elif len(masters) == 1:
        (nodes,) = masters.values()
        agree = f"{len(nodes)} of {len(address.nodes)} Sentinels"
        found.append(ok(_CHECK, f"{agree} name the master {next(iter(masters))}"))
    return found, [_peer(reactor, address, master) for master in masters]


async def _check_cluster(
    reactor: Any, address: ShardAddress
) -> tuple[list[Finding], list[RedisPeer]]:
    """Return the findings about a Cluster, and its masters."""
    found: list[Finding] = []
    views: dict[frozenset[TCPAddress], list[str]] = {}
    for node in address.nodes:
        host = getattr(node, "host", "127.0.0.1")
        peer = _peer(reactor, address, node)
        try:
            state, slots, masters = await peer.ask(_cluster_view(host))
        except BrokerUnavailable as error:
            remedy = "start it, or remove it from cluster_address"
            found.append(warning(_CHECK, f"Cluster node {node}: {error}", remedy))
            continue
        views.setdefault(masters, []).append(str(node))
        if state != "ok" or slots != _SLOTS:
            said = f"Cluster node {node}: state {state}, {slots} of {_SLOTS} slots"
            remedy = "redis-cli --cluster check shows and fixes what is missing"
            found.append(problem(_CHECK, said, remedy))
    if len(views) > 1:
        said = "; ".join(", ".join(nodes) for nodes in views.values())
        remedy = "redis-cli --cluster check; the nodes may have lost each other"
        found.append(problem(_CHECK, f"nodes see different masters: {said}", remedy))
    if not views:
        remedy = "start the Cluster, or correct cluster_address"
        found.append(problem(_CHECK, f"no node of {address} answers", remedy))
    every = sorted({each for view in views for each in view}, key=str)
    if len(views) == 1:
        found.append(ok(_CHECK, f"Cluster of {len(every)} masters at {address}"))
    return found, [_peer(reactor, address, each) for each in every]


def _cluster_view(host: str) -> Any:
    """Return what asks a node for state, assigned slots and masters.

    :param host: that of the node, which may leave its own out.
    """

    async def view(send: Send) -> tuple[str, str, frozenset[TCPAddress]]:
        lines = as_text(await send(b"CLUSTER", b"INFO")).splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        ranges = await send(b"CLUSTER", b"SLOTS")
        masters = {(as_text(one[2][0]) or host, int(one[2][1])) for one in ranges}
        return (
            info.get("cluster_state", "unknown"),
            info.get("cluster_slots_assigned", "0"),
            frozenset(TCPAddress(*each) for each in masters),
        )

    return view
