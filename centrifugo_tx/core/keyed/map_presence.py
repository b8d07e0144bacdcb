"""Maps that mirror who is in a channel (client protocol, "Maps")."""

from typing import TYPE_CHECKING

from ...errors import ReplyError
from ...options import MapChange
from ...protocol.messages import EMPTY, ClientInfo

if TYPE_CHECKING:
    from ..node import Node
    from ..session.subscription import Subscription

__all__ = ["appear", "remove", "vanish"]


def appear(subscription: "Subscription") -> None:
    """Enter a subscriber, or let it stay; nobody waits for it.

    A user id is there but once, however many connections the user has.
    """
    client, info = subscription.client, subscription.info
    maps, name = subscription.options.presence_maps, subscription.name
    assert maps is not None
    if maps.clients:
        _enter(client.node, maps.clients + name, client.id, info)
    if maps.users and client.user:
        _enter(client.node, maps.users + name, client.user, None)


def vanish(subscription: "Subscription") -> None:
    """Take a client out; its user stays until the key's time is over."""
    maps = subscription.options.presence_maps
    if maps is not None and maps.clients:
        client = subscription.client
        remove(client.node, maps.clients + subscription.name, client.id)


def _enter(node: "Node", channel: str, key: str, info: ClientInfo | None) -> None:
    change = _change(node, channel, info)
    if change is not None and node.maps is not None:
        done = node.maps.publish(channel, key, EMPTY, change)
        done.addErrback(node.log_failure, "presence", channel)


def remove(node: "Node", channel: str, key: str) -> None:
    """Remove a key; nobody waits for it."""
    change = _change(node, channel, None)
    if change is not None and node.maps is not None:
        done = node.maps.remove(channel, key, change)
        done.addErrback(node.log_failure, "presence", channel)


def _change(node: "Node", channel: str, info: ClientInfo | None) -> MapChange | None:
    """Return how to change the map *channel*; None if it is none."""
    try:
        rules = node.policy.channel(channel).map
    except ReplyError:
        return None
    if rules is None:
        return None
    return MapChange(rules, info=info, key_mode="if_new", renew=True)
