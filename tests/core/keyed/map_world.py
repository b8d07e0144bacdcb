"""A node with maps, and clients that read them."""

import json
from typing import Any

from attrs import define, field

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import (
    ChannelOptions,
    MapChange,
    MapQuery,
    MapRules,
    SubscribeOptions,
)
from centrifugo_tx.protocol.codes import UNKNOWN_CHANNEL
from centrifugo_tx.protocol.messages import Raw

from ...support import Peer, Permissive, World

__all__ = ["SMALL", "STREAMLESS", "MapWorld", "Reader", "apply"]

#: Pages of two, so that a few keys are several pages.
SMALL = MapRules(
    stream_size=10, page_size=2, min_page_size=1, max_page_size=4, live_limit=4
)
STREAMLESS = MapRules(
    stream_size=0,
    key_ttl=600.0,
    meta_ttl=600.0,
    page_size=2,
    min_page_size=1,
    live_limit=4,
)


@define(eq=False)
class MapPolicy(Permissive):
    """A policy that selects the rules of a map by the channel's prefix."""

    rules: dict[str, MapRules] = field(factory=dict)

    def channel(self, name: str) -> ChannelOptions:
        namespace = name.partition(":")[0]
        if namespace == "no":
            raise ReplyError(UNKNOWN_CHANNEL)
        return ChannelOptions(map=self.rules.get(namespace))


@define(eq=False)
class MapWorld(World):
    """``m:`` is a map with a stream, ``e:`` one without; ``s:`` is not a map."""

    policy: MapPolicy = field(factory=MapPolicy)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.policy.rules |= {"m": SMALL, "e": STREAMLESS}
        self.policy.subscription = SubscribeOptions()

    def put(self, channel: str, key: str, data: Any, **change: Any) -> None:
        """Publish a key."""
        maps = self.node.maps
        assert maps is not None
        rules = self.policy.rules[channel.partition(":")[0]]
        payload = Raw(json.dumps(data).encode())
        maps.publish(channel, key, payload, MapChange(rules, **change))

    def drop(self, channel: str, key: str) -> None:
        """Remove a key."""
        maps = self.node.maps
        assert maps is not None
        rules = self.policy.rules[channel.partition(":")[0]]
        maps.remove(channel, key, MapChange(rules))

    def state(self, channel: str) -> dict[str, Any]:
        """Return the contents of the map."""
        maps = self.node.maps
        assert maps is not None
        found: list[Any] = []
        maps.state(channel, MapQuery(-1)).addCallback(found.append)
        return {
            entry.key: json.loads(bytes(entry.data)) if bytes(entry.data) else None
            for entry in found[0].entries
        }

    def fill(self, channel: str, count: int) -> None:
        """Publish as many keys, ``k0`` and so on."""
        for number in range(count):
            self.put(channel, f"k{number}", number)


def apply(held: dict[str, Any], publication: dict[str, Any]) -> None:
    """Apply a change to a client's entries."""
    if publication.get("removed"):
        held.pop(publication["key"], None)
    else:
        held[publication["key"]] = publication.get("data")


@define(eq=False)
class Reader:
    """A client that reads one map as the SDKs do, step by step."""

    peer: Peer
    channel: str
    type: int = 1
    held: dict[str, Any] = field(factory=dict)
    #: Offsets of changes, in the order in which they came.
    offsets: list[int] = field(factory=list)
    live: bool = False
    offset: int = 0
    epoch: str = ""
    #: The position to continue from; None: from the start.
    _next: dict[str, Any] | None = None
    _state: list[Any] = field(factory=list)
    _stream: list[Any] = field(factory=list)

    def step(self) -> dict[str, Any]:
        """Ask for the next page; return the reply, nothing if that is a close."""
        request = self._next or {"phase": 2}
        request = {"channel": self.channel, "type": self.type, **request}
        # Pings are empty.
        messages = [each for each in self.peer.ask(subscribe=request) if each]
        if not messages:
            return {}
        found: dict[str, Any] = messages[0]
        if "error" in found:
            self._begin_anew()
        else:
            self._take(found["subscribe"])
        self.apply_pushes(messages[1:])
        return found

    def read(self) -> None:
        """Go on until it is live."""
        for _ in range(100):
            if self.live:
                return
            self.step()
        raise AssertionError("not live")

    def reconnect(self, peer: Peer) -> None:
        """Go on with another connection where this one was."""
        was_live, self.live = self.live, False
        self.peer, self._state, self._stream = peer, [], []
        self._next = None
        if was_live and self.epoch:
            self._next = self._position(1) | {"recover": True}

    def apply_pushes(self, messages: list[Any] | None = None) -> None:
        """Apply the pushed changes."""
        for message in self.peer.take() if messages is None else messages:
            push = message.get("push", {})
            if push.get("channel") != self.channel:
                continue
            if "pub" in push:
                self._change(push["pub"])
            if "unsubscribe" in push:
                was, self.live = self.live, False
                self._next = None
                if was and self.epoch:
                    self._next = self._position(1) | {"recover": True}

    def _begin_anew(self) -> None:
        self._next, self._state, self._stream = None, [], []
        self.epoch, self.offset = "", 0

    def _position(self, phase: int) -> dict[str, Any]:
        return {"phase": phase, "offset": self.offset, "epoch": self.epoch}

    def _take(self, result: dict[str, Any]) -> None:
        assert result["type"] == 1
        phase = result.get("phase", 0)
        self._state += result.get("state", [])
        self._stream += result.get("publications", [])
        if phase == 2:
            self.epoch, self.offset = result["epoch"], result.get("offset", 0)
            self._next = self._position(1)
            if "cursor" in result:
                self._next = self._position(2) | {"cursor": result["cursor"]}
        elif phase == 1:
            self.offset = result["offset"]
            recover = {"recover": True} if (self._next or {}).get("recover") else {}
            self._next = self._position(1) | recover
        else:
            self._go_live(result)

    def _go_live(self, result: dict[str, Any]) -> None:
        if not result.get("recovered"):
            self.held, self.offsets = {}, []
            for entry in self._state:
                assert entry["key"] not in self.held, "an entry came twice"
                self.held[entry["key"]] = entry.get("data")
        for publication in self._stream:
            self._change(publication)
        self.live, self._next = True, None
        self._state, self._stream = [], []
        self.offset = result.get("offset", 0)
        # Where nothing can be recovered the epoch is of no use.
        self.epoch = result.get("epoch", "") if result.get("recoverable") else ""

    def _change(self, publication: dict[str, Any]) -> None:
        if publication.get("offset"):
            self.offsets.append(publication["offset"])
            self.offset = publication["offset"]
        apply(self.held, publication)
