"""The messages of protocol v1, and their conversion to and from v2.

See client protocol v1, "Envelopes", "Messages" and "Positions".
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from attrs import frozen

from ..errors import EncodeError
from ..messages import (
    EMPTY,
    ClientInfo,
    Command,
    ConnectRequest,
    ConnectResult,
    HistoryRequest,
    HistoryResult,
    Part,
    Payload,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    Publication,
    PublishRequest,
    Push,
    RefreshRequest,
    Reply,
    RequestPart,
    RPCRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
    UInt32,
    UInt64,
    UnsubscribeRequest,
)

__all__ = ["METHODS", "Dialect", "OldError", "OldPush", "OldReply", "command"]


class OldSubscribeRequest(RequestPart, frozen=True):
    """Subscribe to a channel; the position is ``offset``, or ``seq`` and ``gen``."""

    channel: str = ""
    token: str = ""
    recover: bool = False
    seq: UInt32 = 0
    gen: UInt32 = 0
    epoch: str = ""
    offset: UInt64 = 0
    data: Payload = EMPTY

    def as_current(self) -> SubscribeRequest:
        """Return this request in the form of v2."""
        offset = (self.gen << 32 | self.seq) or self.offset
        return SubscribeRequest(
            channel=self.channel,
            token=self.token,
            recover=self.recover,
            epoch=self.epoch,
            offset=offset,
            data=self.data,
        )


class OldConnectRequest(RequestPart, frozen=True):
    """The first command."""

    token: str = ""
    data: Payload = EMPTY
    subs: dict[str, OldSubscribeRequest | None] = {}
    name: str = ""
    version: str = ""

    def as_current(self) -> ConnectRequest:
        """Return this request in the form of v2."""
        subs = {
            name: None if each is None else each.as_current()
            for name, each in self.subs.items()
        }
        return ConnectRequest(
            token=self.token,
            data=self.data,
            subs=subs,
            name=self.name,
            version=self.version,
        )


class OldPublication(Part, frozen=True):
    """One message published into a channel."""

    seq: int = 0
    gen: int = 0
    data: Payload = EMPTY
    info: ClientInfo | None = None
    offset: int = 0


class OldSubscribeResult(Part, frozen=True):
    """The result of a subscribe."""

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    seq: int = 0
    gen: int = 0
    epoch: str = ""
    publications: list[OldPublication] = []
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Payload = EMPTY


class OldConnectResult(Part, frozen=True):
    """The result of connect."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0
    data: Payload = EMPTY
    subs: dict[str, OldSubscribeResult] = {}


class OldSubRefreshResult(Part, frozen=True):
    """The subscription continues."""

    expires: bool = False
    ttl: int = 0


class OldHistoryResult(Part, frozen=True):
    """Publications, and the top of the stream."""

    publications: list[OldPublication]
    epoch: str
    offset: int


class OldUnsubscribe(Part, frozen=True):
    """The server ended a subscription, and the client must not renew it."""


class OldSubscribe(Part, frozen=True):
    """The server subscribed the client to a channel."""

    recoverable: bool = False
    seq: int = 0
    gen: int = 0
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Payload = EMPTY


class OldError(Part, frozen=True):
    """The error of a command."""

    code: int
    message: str


class OldReply(Part, frozen=True):
    """The reply to the command with the same ``id``; without an id, a push."""

    id: int = 0
    error: OldError | None = None
    result: Any = None


class OldPush(Part, frozen=True):
    """A message that answers no command; ``type`` names the type of ``data``."""

    type: int = 0
    channel: str = ""
    data: Any = None


#: The request of each method, in the order of the methods' numbers.
METHODS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("connect", OldConnectRequest),
    ("subscribe", OldSubscribeRequest),
    ("unsubscribe", UnsubscribeRequest),
    ("publish", PublishRequest),
    ("presence", PresenceRequest),
    ("presence_stats", PresenceStatsRequest),
    ("history", HistoryRequest),
    ("ping", PingRequest),
    ("send", SendRequest),
    ("rpc", RPCRequest),
    ("refresh", RefreshRequest),
    ("sub_refresh", SubRefreshRequest),
)

#: The number of each type of push.
_PUSHES = {
    "pub": 0,
    "join": 1,
    "leave": 2,
    "unsubscribe": 3,
    "message": 4,
    "subscribe": 5,
    "refresh": 8,
}


def command(id: int, method: int, request: Any, whole_history: bool) -> Command:
    """Return a command in the form of v2; one of an unknown method has no request.

    :param whole_history: a history request without a limit and a position returns all
        publications.
    """
    if not 0 <= method < len(METHODS):
        return Command(id=id)
    name, _ = METHODS[method]
    if isinstance(request, OldConnectRequest | OldSubscribeRequest):
        request = request.as_current()
    elif isinstance(request, HistoryRequest):
        if whole_history and not request.limit and request.since is None:
            request = msgspec.structs.replace(request, limit=-1)
    elif isinstance(request, PublishRequest):  # v1 has no other fields
        request = PublishRequest(request.channel, request.data)
    elif isinstance(request, SubRefreshRequest):
        request = SubRefreshRequest(request.channel, request.token)
    return Command(id=id, **{name: request})


@frozen
class Dialect:
    """One of the two forms of positions (client protocol v1, "Positions").

    ``seqgen``: a position is two numbers of 32 bits, and recovered publications are
    sent newest first.
    """

    seqgen: bool = False

    def reply(self, reply: Reply) -> OldReply:
        """Return a reply in the form of v1."""
        if reply.error is not None:
            error = OldError(reply.error.code, reply.error.message)
            return OldReply(id=reply.id, error=error)
        if reply.ping is not None:
            return OldReply(id=reply.id)
        return OldReply(id=reply.id, result=self._result(reply))

    def _result(self, reply: Reply) -> msgspec.Struct:
        for name, form in self._forms.items():
            result: Any = getattr(reply, name)
            if result is not None:
                made: msgspec.Struct = form(result)
                return made
        raise EncodeError("protocol v1 has no such reply")

    @property
    def _forms(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "publish": _same,
            "subscribe": self._subscribed,
            "connect": self._connected,
            "history": self._history,
            "unsubscribe": _same,
            "presence": _same,
            "presence_stats": _same,
            "rpc": _same,
            "refresh": _same,
            "sub_refresh": lambda told: OldSubRefreshResult(told.expires, told.ttl),
        }

    def push(self, push: Push) -> OldPush:
        """Return a push in the form of v1."""
        for name, kind in _PUSHES.items():
            part: Any = getattr(push, name)
            if part is not None:
                return OldPush(kind, push.channel, self._part(name, part))
        raise EncodeError("protocol v1 has no such push")

    def _part(self, name: str, part: Any) -> Any:
        if name == "pub":
            return self._publication(part)
        if name == "unsubscribe":
            return OldUnsubscribe()
        if name == "subscribe":
            seq, gen, offset = self._place(part.offset)
            return OldSubscribe(
                part.recoverable,
                seq,
                gen,
                part.epoch,
                offset,
                part.positioned,
                part.data,
            )
        return part

    def _place(self, offset: int) -> tuple[int, int, int]:
        """Return seq, gen and offset of a position; zero where this form has none."""
        if self.seqgen:
            return offset & 0xFFFFFFFF, offset >> 32, 0
        return 0, 0, offset

    def _publication(self, publication: Publication) -> OldPublication:
        seq, gen, offset = self._place(publication.offset)
        return OldPublication(seq, gen, publication.data, publication.info, offset)

    def _subscribed(self, result: SubscribeResult) -> OldSubscribeResult:
        given: Sequence[Publication] = result.publications
        # v1 sends the top of the stream, even after a recovery.
        seq, gen, offset = self._place(given[-1].offset if given else result.offset)
        publications = [self._publication(each) for each in given]
        if self.seqgen:
            publications.reverse()
        return OldSubscribeResult(
            expires=result.expires,
            ttl=result.ttl,
            recoverable=result.recoverable,
            seq=seq,
            gen=gen,
            epoch=result.epoch,
            publications=publications,
            recovered=result.recovered,
            offset=offset,
            positioned=result.positioned,
            data=result.data,
        )

    def _connected(self, result: ConnectResult) -> OldConnectResult:
        subs = {name: self._subscribed(each) for name, each in result.subs.items()}
        return OldConnectResult(
            client=result.client,
            version=result.version,
            expires=result.expires,
            ttl=result.ttl,
            data=result.data,
            subs=subs,
        )

    def _history(self, result: HistoryResult) -> OldHistoryResult:
        found = []
        for each in result.publications:
            seq, gen, _ = self._place(each.offset)
            found.append(OldPublication(seq, gen, each.data, each.info, each.offset))
        return OldHistoryResult(found, result.epoch, result.offset)


def _same(result: Any) -> Any:
    """Return the fields that both versions share."""
    return result
