"""Receipts: which users have received a publication, over all nodes.

A pong proves that a client has received all that was written before its ping
(docs/receipts.rst).
"""

from heapq import nsmallest

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred

from ...errors import ReplyError
from ...interfaces import IReceiptStore
from ...options import Proof, ReceiptQuery, Receipts, ReceiptState, UserReceipt
from ...protocol import control
from ...protocol.codes import NOT_AVAILABLE
from ...protocol.payloads import Raw
from ..channel.channel import Channel
from ..channel.hub import Hub
from ..channel.receipt import SubscriberReceipt
from ..channel.receipt_pings import ReceiptPings
from ..runtime import Runtime
from ..session.client import Client
from ..session.connections import Connections
from ..time_slices import RoundRobin, Slices
from .peers import Peers
from .surveys import SurveyFailed, Surveys

__all__ = ["PAGE", "ClusterReceipts"]

#: The survey by which nodes read receipts, and the notification that asks for them.
OP, ASK = "centrifugo_tx_receipts", "centrifugo_tx_ask_for_receipts"
#: The most users of one page.
PAGE = 1000
#: States in the order in which the connections of one user are compared: the best wins.
_ORDER: tuple[ReceiptState, ...] = ("missed", "unknown", "pending", "received")
_RANK = {state: rank for rank, state in enumerate(_ORDER)}


class _Page(msgspec.Struct, frozen=True):
    """A node's answer: its counts, and its first users after the cursor."""

    counts: dict[ReceiptState, int]
    users: list[UserReceipt]
    more: bool


class _Ask(msgspec.Struct, frozen=True):
    """Asks the subscribers of a channel for receipts up to an offset."""

    channel: str
    offset: int


_decode_query = msgspec.msgpack.Decoder(ReceiptQuery).decode
_decode_page = msgspec.msgpack.Decoder(_Page).decode
_decode_ask = msgspec.msgpack.Decoder(_Ask).decode
_encode = msgspec.msgpack.Encoder().encode


@define(eq=False)
class ClusterReceipts:
    """Reads receipts of all nodes, asks for them, and remembers users that left."""

    _runtime: Runtime
    _peers: Peers
    _surveys: Surveys
    _hub: Hub
    _connections: Connections[Client]
    _store: IReceiptStore | None
    _pings: ReceiptPings
    _robin: RoundRobin = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._robin = RoundRobin(self._runtime.clock)
        self._surveys.handlers[OP] = self._handle_survey
        self._peers.handlers["notification"] = self._handle_notification

    # --- Asking ----------------------------------------------------------------

    def ask(self, channel: str, offset: int) -> None:
        """Ask the subscribers on all nodes for receipts up to *offset*, soon."""
        self._ask_here(channel, offset)
        if self._peers.num_others:
            data = Raw(_encode(_Ask(channel, offset)))
            message = control.Notification(op=ASK, data=data)
            self._peers.notify(control.ControlCommand(notification=message))

    def _ask_here(self, channel: str, offset: int) -> None:
        found = self._hub.channels.get(channel)
        if found is not None and found.want_receipts(offset):
            self._pings.ask(found)

    def _handle_notification(self, uid: str, message: control.Notification) -> None:
        if message.op == ASK:
            try:
                asked = _decode_ask(message.data)
            except msgspec.DecodeError:
                return
            self._ask_here(asked.channel, asked.offset)

    # --- Coming and going ------------------------------------------------------

    def returned(self, channel: str, user: str) -> None:
        """Forget what *user* had received when it left; no caller waits for it."""
        if self._store is not None and user:
            done = self._store.returned(channel, user)
            done.addErrback(self._runtime.log_failure, "receipts", channel)

    def left(self, channel: str, receipt: SubscriberReceipt, ttl: float) -> None:
        """Remember what a user has received, unless it is still there.

        Anonymous users are not remembered, since they cannot be told apart.
        """
        user = receipt.user
        if self._store is None or not user or self._is_subscribed(user, channel):
            return
        done = self._store.left(channel, user, receipt.proof, ttl)
        done.addErrback(self._runtime.log_failure, "receipts", channel)

    def _is_subscribed(self, user: str, channel: str) -> bool:
        """Whether another connection of *user* is in *channel* on this node."""
        if not self._connections.num_of_user(user):
            return False
        return any(each.subscribed(channel) for each in self._connections.find(user))

    # --- Reading ---------------------------------------------------------------

    async def read(self, query: ReceiptQuery) -> Receipts:
        """Return the receipts of all users that are subscribed or have left.

        Counts of a user with connections to several nodes are those of each node.

        :raises ReplyError: 108, the channel has no receipts.
        :raises SurveyFailed: a node did not answer.
        """
        if not self._runtime.policy.channel(query.channel).receipts:
            raise ReplyError(NOT_AVAILABLE, "receipts are not enabled for channel")
        limit = min(query.limit, PAGE)
        phase, _, after = query.cursor.partition(":")
        connected = msgspec.structs.replace(
            query,
            limit=0 if phase == "away" else limit,
            cursor=after if phase == "connected" else "",
        )
        counts, users, more = await self._connected(connected)
        away = await self._away(query)
        for receipt in away:
            counts[receipt.state] = counts.get(receipt.state, 0) + 1
        if more or not limit:
            cursor = f"connected:{users[-1].user}" if users and more else ""
            return Receipts(counts, users, cursor)
        start = after if phase == "away" else ""
        rest = [each for each in away if not start or each.user > start]
        room = limit - len(users)
        users += rest[:room]
        cursor = ""
        if len(rest) > room:
            cursor = f"away:{rest[room - 1].user}" if room else "away:"
        return Receipts(counts, users, cursor)

    async def _connected(
        self, query: ReceiptQuery
    ) -> tuple[dict[ReceiptState, int], list[UserReceipt], bool]:
        """Return counts and a page of the users with connections."""
        answers = await self._surveys.survey(OP, _encode(query))
        counts: dict[ReceiptState, int] = {}
        best: dict[str, UserReceipt] = {}
        more = False
        for uid, (code, data) in answers.items():
            if code:
                raise SurveyFailed(f"node {uid} answered with code {code}")
            page = _decode_page(data)
            more = more or page.more
            for state, count in page.counts.items():
                counts[state] = counts.get(state, 0) + count
            for receipt in page.users:
                known = best.get(receipt.user)
                if known is None or _RANK[known.state] < _RANK[receipt.state]:
                    best[receipt.user] = receipt
        users = [best[user] for user in sorted(best)]
        return counts, users[: query.limit], more or len(users) > query.limit > 0

    async def _away(self, query: ReceiptQuery) -> list[UserReceipt]:
        """Return the users that have left, in order of their ids."""
        found: dict[str, UserReceipt] = {}
        if self._store is None:
            return []
        wanted, cursor = frozenset(query.users), ""
        while True:
            page = await self._store.departures(query.channel, cursor)
            slices = Slices(self._robin, self._runtime.clock)
            for user, proof in page.users.items():
                if slices.over():
                    await slices.next()
                if (not wanted or user in wanted) and _same(query, proof):
                    state = _state(query, proof, "away")
                    found[user] = UserReceipt(user, state, proof.received, proof.at)
            cursor = page.cursor
            if not cursor:
                return [found[user] for user in sorted(found)]

    def _handle_survey(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        return Deferred.fromCoroutine(self._answer(data))

    async def _answer(self, data: bytes) -> tuple[int, bytes]:
        """Answer a survey: return the receipts of this node's connections."""
        try:
            query = _decode_query(data)
        except msgspec.DecodeError:
            return 1, b""
        channel = self._hub.channels.get(query.channel)
        page = (
            _Page({}, [], False) if channel is None else await self._of(channel, query)
        )
        return 0, _encode(page)

    async def _of(self, channel: Channel, query: ReceiptQuery) -> _Page:
        slices = Slices(self._robin, self._runtime.clock)
        wanted = frozenset(query.users)
        counts: dict[ReceiptState, int] = {}
        best: dict[str, UserReceipt] = {}
        for subscriber in list(channel.subscribers):
            if slices.over():
                await slices.next()
            receipt = subscriber.receipt()
            if receipt is None or (wanted and receipt.user not in wanted):
                continue
            user, proof = receipt.user, receipt.proof
            state: ReceiptState = "missed"
            if _same(query, proof):
                state = _state(
                    query, proof, "pending" if receipt.answers else "unknown"
                )
            if not user:
                counts[state] = counts.get(state, 0) + 1
                continue
            known = best.get(user)
            if known is None or _RANK[known.state] < _RANK[state]:
                best[user] = UserReceipt(user, state, proof.received, proof.at)
        for each in best.values():
            counts[each.state] = counts.get(each.state, 0) + 1
        if not query.limit:
            return _Page(counts, [], False)
        users = _first(best, query.cursor, query.limit)
        return _Page(counts, users[: query.limit], len(users) > query.limit)


def _first(
    receipts: "dict[str, UserReceipt]", after: str, limit: int
) -> list[UserReceipt]:
    """Return one more than *limit* receipts, the first ones after the user *after*."""
    later = (user for user in receipts if user > after)
    return [receipts[user] for user in nsmallest(limit + 1, later)]


def _same(query: ReceiptQuery, proof: Proof) -> bool:
    """Whether a proof is about the stream of the publication."""
    return not query.epoch or query.epoch == proof.epoch


def _state(query: ReceiptQuery, proof: Proof, otherwise: ReceiptState) -> ReceiptState:
    if query.offset <= proof.floor:
        return "missed"
    return "received" if query.offset <= proof.received else otherwise
