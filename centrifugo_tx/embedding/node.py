"""A node for applications: the verbs of the server API as methods."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, cast

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from ..api import METHODS, Api
from ..api import api_messages as m
from ..api import map_messages as maps
from ..core import Node as CoreNode
from ..core import NodeInfo
from ..interfaces import Engine
from ..options import (
    BoolValue,
    NodeOptions,
    PresenceStats,
    ReceiptQuery,
    Receipts,
    SubscribeOverride,
)
from ..protocol.codes import FORCE_DISCONNECT, Disconnect, Error
from ..protocol.messages import StreamPosition
from ..reactors import clock_or_reactor
from ..transports import AnyNode
from ..typing import Clock, PolicyProtocol
from . import api_results
from .json_values import ABSENT, payload_of
from .policy import AdaptedPolicy, run_in_reactor
from .results import (
    ClientInfo,
    History,
    MapChanges,
    MapState,
    MapUpdate,
    PublishResult,
)

__all__ = ["Node", "SurveyHandler"]

#: Answers a survey: takes its data, and returns a code and the answer.
SurveyHandler = Callable[[bytes], "Deferred[tuple[int, bytes]]"]


@define(eq=False)
class Node:
    """One node of a cluster, or the only one, inside an application.

    The methods follow the options that the policy gives each channel.  All return
    Deferreds, which fail with `ReplyError` if a request is refused (102: the channel
    does not exist; 107: bad request; 108: the channel lacks the feature), and with
    `BrokerUnavailable` if the engine's storage is away.

    :param clock: the reactor; None selects the global one.
    :param run: runs what ``async def`` methods of the policy return.
    """

    engine: Engine
    _given_policy: PolicyProtocol = field(alias="policy")
    _clock: Clock | None = field(default=None, alias="clock")
    options: NodeOptions = field(factory=NodeOptions)
    _run: Callable[[Awaitable[Any]], "Deferred[Any]"] = field(
        default=run_in_reactor, alias="run", kw_only=True
    )
    _core: CoreNode = field(init=False)
    _api: Api = field(init=False)

    def __attrs_post_init__(self) -> None:
        adapted = AdaptedPolicy(self._given_policy, self._run)
        clock = clock_or_reactor(self._clock)
        self._core = CoreNode(self.engine, adapted, clock, self.options)
        self._api = Api(self._core, "embedded")

    @classmethod
    def of(cls, other: AnyNode) -> "Node":
        """Return the verbs of a node that exists already.

        :param other: a server of `server_from_file`.
        """
        core, node = cast(CoreNode, other.core), cls.__new__(cls)
        node.engine, node.options, node._clock = core.engine, core.options, core.clock
        node._given_policy = cast(PolicyProtocol, core.policy)
        node._core, node._api = core, Api(core, "embedded")
        node._run = run_in_reactor
        return node

    @property
    def core(self) -> object:
        """The node's machinery, which the resources use; not a public interface."""
        return self._core

    @property
    def id(self) -> str:
        """The node's own id, a UUID."""
        return self._core.id

    @property
    def policy(self) -> PolicyProtocol:
        """Decides on the rights of clients; may be replaced at any time."""
        current = self._core.policy
        if isinstance(current, AdaptedPolicy):
            return current.policy
        return cast(PolicyProtocol, current)

    @policy.setter
    def policy(self, policy: PolicyProtocol) -> None:
        self._core.policy = AdaptedPolicy(policy, self._run)

    @property
    def num_clients(self) -> int:
        """How many clients are connected to this node."""
        return self._core.connections.num_clients

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, this one included."""
        return self._core.num_nodes

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Connect to the engine and announce the node to the cluster."""
        return self._core.start()

    def stop(self) -> "Deferred[None]":
        """Close every connection with 3001, then disconnect from the engine.

        :return: fires when the connections are closed, after 6 seconds at most.
        """
        return self._core.stop()

    # --- Channels --------------------------------------------------------------

    def publish(
        self,
        channel: str,
        data: object = ABSENT,
        *,
        raw: bytes | None = None,
        tags: Mapping[str, str] | None = None,
        skip_history: bool = False,
        idempotency_key: str = "",
        delta: bool = False,
        version: int = 0,
        version_epoch: str = "",
        confirm: bool = False,
    ) -> "Deferred[PublishResult]":
        """Publish a JSON value into *channel*, which keeps it as its options say.

        :param raw: the payload in bytes, JSON or not, instead of *data*.
        :param tags: text by name, for subscribers that filter.
        :param skip_history: deliver the publication without keeping it.
        :param idempotency_key: a second publication with the same key is dropped.
        :param delta: send the difference to subscribers that negotiated deltas, even
            if the channel's options do not say so.
        :param version: if positive, drop publications that are not newer.
        :param confirm: ask the subscribers for `receipts`, soon.
        :raises TypeError: at once, *data* is bytes or no JSON value.
        """
        request = m.PublishRequest(
            channel=channel,
            data=payload_of(data, raw),
            skip_history=skip_history,
            tags=dict(tags) if tags else None,
            idempotency_key=idempotency_key,
            delta=delta,
            version=version,
            version_epoch=version_epoch,
            confirm=confirm,
        )
        return self._call("publish", request).addCallback(api_results.publish_result)

    def broadcast(
        self,
        channels: Sequence[str],
        data: object = ABSENT,
        *,
        raw: bytes | None = None,
        tags: Mapping[str, str] | None = None,
        skip_history: bool = False,
        idempotency_key: str = "",
        delta: bool = False,
        version: int = 0,
        version_epoch: str = "",
        confirm: bool = False,
    ) -> "Deferred[list[PublishResult | Error]]":
        """Publish the same into several channels; see `publish`.

        :return: fires with the results in the order of *channels*; an `Error` stands
            for a channel into which nothing was published.
        """
        request = m.BroadcastRequest(
            channels=list(channels),
            data=payload_of(data, raw),
            skip_history=skip_history,
            tags=dict(tags) if tags else None,
            idempotency_key=idempotency_key,
            delta=delta,
            version=version,
            version_epoch=version_epoch,
            confirm=confirm,
        )
        return self._call("broadcast", request).addCallback(
            api_results.broadcast_results
        )

    def history(
        self,
        channel: str,
        *,
        limit: int | None = None,
        since: StreamPosition | None = None,
        reverse: bool = False,
    ) -> "Deferred[History]":
        """Read a channel's stream, oldest publication first.

        Fails with `ReplyError` 112 if the stream has another epoch than *since*.

        :param limit: the most publications to read; 0: only the position; None: all.
        :param since: read what follows this position, or in reverse precedes it.
        """
        position = None if since is None else m.Position(since.offset, since.epoch)
        request = m.HistoryRequest(
            channel, -1 if limit is None else limit, position, reverse
        )
        return self._call("history", request).addCallback(api_results.history)

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Delete a channel's publications; its stream position continues."""
        return self._do("history_remove", m.HistoryRemoveRequest(channel))

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return the clients in *channel*, by client id."""
        return self._call("presence", m.PresenceRequest(channel)).addCallback(
            api_results.presence
        )

    def presence_stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return the numbers of clients and users in *channel*."""
        done = self._call("presence_stats", m.PresenceStatsRequest(channel))
        return done.addCallback(lambda r: PresenceStats(r.num_clients, r.num_users))

    def receipts(
        self,
        channel: str,
        offset: int,
        *,
        epoch: str = "",
        users: Sequence[str] = (),
        limit: int = 100,
        cursor: str = "",
    ) -> "Deferred[Receipts]":
        """Return which users have received the publication at *offset*.

        Fails with `ReplyError` 108 if the channel has no receipts.

        :param epoch: the epoch of the publication; empty: any.
        :param users: the users of interest; empty: all.
        :param limit: how many users to list, at most 1,000; 0: only count them.
        :param cursor: the cursor of the page before.
        """
        return self._core.receipts_of(
            ReceiptQuery(channel, offset, epoch, tuple(users), limit, cursor)
        )

    def channels(self, pattern: str = "") -> "Deferred[dict[str, int]]":
        """Return the number of subscribers of each channel, over all nodes.

        :param pattern: a glob that the names match; empty: all channels.
        :raises ValueError: (as a failure) *pattern* is not a valid glob.
        """
        return self._core.channels(pattern)

    # --- Clients on all nodes --------------------------------------------------

    def subscribe(
        self,
        user: str,
        channel: str,
        *,
        client: str = "",
        session: str = "",
        data: object = ABSENT,
        info: object = ABSENT,
        expire_at: int = 0,
        since: StreamPosition | None = None,
        presence: bool | None = None,
        join_leave: bool | None = None,
        push_join_leave: bool | None = None,
        positioned: bool | None = None,
        recoverable: bool | None = None,
    ) -> "Deferred[None]":
        """Subscribe the connections of *user* to *channel*, on all nodes.

        :param client: only the connection with this id.
        :param session: only the connection with this session.
        :param data: a JSON value for the client.
        :param info: the subscription's ``chan_info``, a JSON value.
        :param expire_at: when the subscription ends, in Unix seconds; 0: never.
        :param since: send what was published after this position.
        :param presence: these override the channel's options, unless None.
        """
        given = (presence, join_leave, push_join_leave, positioned, recoverable)
        override = SubscribeOverride(*(_optional(each) for each in given))
        position = None if since is None else m.Position(since.offset, since.epoch)
        request = m.SubscribeRequest(
            channel=channel,
            user=user,
            expire_at=expire_at,
            info=payload_of(info, None),
            client=client,
            data=payload_of(data, None),
            recover_since=position,
            override=override,
            session=session,
        )
        return self._do("subscribe", request)

    def unsubscribe(
        self, user: str, channel: str, *, client: str = "", session: str = ""
    ) -> "Deferred[None]":
        """Unsubscribe the connections of *user* from *channel*, on all nodes."""
        request = m.UnsubscribeRequest(channel, user, client, session)
        return self._do("unsubscribe", request)

    def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        disconnect: Disconnect = FORCE_DISCONNECT,
        whitelist: Sequence[str] = (),
    ) -> "Deferred[None]":
        """Close the connections of *user*, except the client ids in *whitelist*."""
        return self._core.disconnect(user, client, session, disconnect, whitelist)

    def refresh(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        expired: bool = False,
        expire_at: int = 0,
        info: object = ABSENT,
    ) -> "Deferred[None]":
        """Set the expiry of the connections of *user*, on all nodes.

        :param expired: close the connections, as if they had expired.
        :param expire_at: when they expire, in Unix seconds; 0: never.
        :param info: the connections' new info, a JSON value.
        """
        request = m.RefreshRequest(
            user, client, expired, expire_at, payload_of(info, None), session
        )
        return self._do("refresh", request)

    # --- Keys ------------------------------------------------------------------

    def map_publish(
        self,
        channel: str,
        key: str,
        data: object = ABSENT,
        *,
        raw: bytes | None = None,
        tags: Mapping[str, str] | None = None,
        key_mode: Literal["", "if_new", "if_exists"] = "",
        idempotency_key: str = "",
        delta: bool = False,
        version: int = 0,
        version_epoch: str = "",
    ) -> "Deferred[MapUpdate]":
        """Set *key* of the map *channel* to a JSON value.

        :param raw: the value in bytes, JSON or not, instead of *data*.
        :param key_mode: set the key only if it is new, or only if it exists.
        """
        request = maps.MapPublishRequest(
            channel=channel,
            key=key,
            data=payload_of(data, raw),
            tags=dict(tags) if tags else None,
            idempotency_key=idempotency_key,
            delta=delta,
            version=version,
            version_epoch=version_epoch,
            key_mode=key_mode,
        )
        return self._call("map_publish", request).addCallback(api_results.map_update)

    def map_remove(
        self, channel: str, key: str, *, idempotency_key: str = ""
    ) -> "Deferred[MapUpdate]":
        """Remove *key* from the map *channel*."""
        request = maps.MapRemoveRequest(channel, key, idempotency_key)
        return self._call("map_remove", request).addCallback(api_results.map_update)

    def map_state(
        self,
        channel: str,
        *,
        key: str = "",
        limit: int | None = None,
        cursor: str = "",
    ) -> "Deferred[MapState]":
        """Read the entries of a map, or that of one *key*.

        :param limit: the size of a page; 0: only the position; None: all entries.
        :param cursor: from the previous page.
        """
        most = -1 if limit is None else limit
        request = maps.MapReadStateRequest(channel, cursor, most, key)
        return self._call("map_read_state", request).addCallback(api_results.map_state)

    def map_changes(
        self,
        channel: str,
        *,
        limit: int | None = None,
        since: StreamPosition | None = None,
        reverse: bool = False,
    ) -> "Deferred[MapChanges]":
        """Read the changes of a map.

        :param limit: the most changes to read; 0: only the position; None: all.
        :param since: read what follows this position, or in reverse precedes it.
        """
        offset, epoch = (0, "") if since is None else (since.offset, since.epoch)
        most = -1 if limit is None else limit
        request = maps.MapReadStreamRequest(channel, offset, epoch, most, reverse)
        return self._call("map_read_stream", request).addCallback(
            api_results.map_changes
        )

    def map_size(self, channel: str) -> "Deferred[int]":
        """Return the number of keys of a map."""
        done = self._call("map_stats", maps.MapStatsRequest(channel))
        return done.addCallback(lambda result: result.num_keys)

    def map_clear(self, channel: str) -> "Deferred[None]":
        """Remove all keys of a map."""
        return self._do("map_clear", maps.MapClearRequest(channel))

    def shared_poll_publish(
        self,
        channel: str,
        key: str,
        data: object = ABSENT,
        *,
        raw: bytes | None = None,
        version: int,
        epoch: str = "",
    ) -> "Deferred[None]":
        """Send a newer value of a shared poll key to the clients that track it."""
        request = maps.SharedPollPublishRequest(
            channel=channel,
            key=key,
            data=payload_of(data, raw),
            version=version,
            epoch=epoch,
        )
        return self._do("shared_poll_publish", request)

    # --- Nodes -----------------------------------------------------------------

    def info(self) -> "Deferred[list[NodeInfo]]":
        """Return the state of all nodes, this one first."""
        return self._core.info()

    def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> "Deferred[dict[str, tuple[int, bytes]]]":
        """Send a survey to all nodes, or to one; return code and answer by node id.

        Fails with `SurveyFailed` if a node does not answer within 10 seconds.
        """
        return self._core.survey(op, data, node)

    def answer_survey(self, op: str, handler: SurveyHandler) -> None:
        """Answer the surveys of *op* with *handler*, which returns code and answer."""
        self._core.answer_survey(op, handler)

    # --- Calls of the server API -----------------------------------------------

    def _call(self, name: str, request: m.Request) -> "Deferred[Any]":
        """Run a method of the server API; its rules are those of the verbs."""
        try:
            outcome: Any = METHODS[name].call(self._api, request)
        except Exception:
            return fail()
        if isinstance(outcome, Deferred):
            return outcome
        if hasattr(outcome, "send"):
            return Deferred.fromCoroutine(outcome)
        return succeed(outcome)

    def _do(self, name: str, request: m.Request) -> "Deferred[None]":
        return self._call(name, request).addCallback(lambda _: None)


def _optional(value: bool | None) -> BoolValue | None:
    return None if value is None else BoolValue(value)
