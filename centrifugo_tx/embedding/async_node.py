"""A node for asyncio: each verb is a coroutine."""

from asyncio import AbstractEventLoop, ensure_future, get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from ..core import NodeInfo
from ..engines import memory_engine
from ..interfaces import Engine
from ..options import NodeOptions, PresenceStats, Receipts
from ..protocol.codes import FORCE_DISCONNECT, Disconnect, Error
from ..protocol.messages import StreamPosition
from ..reactors import reactor_of
from ..typing import Clock, PolicyProtocol
from .json_values import ABSENT
from .node import Node
from .results import (
    ClientInfo,
    History,
    MapChanges,
    MapState,
    MapUpdate,
    PublishResult,
)

__all__ = ["AsyncNode"]

T = TypeVar("T")


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _run_on_loop(awaitable: Awaitable[T]) -> "Deferred[T]":
    """Run what an ``async def`` method of a policy returned as a task of asyncio."""
    return Deferred.fromFuture(ensure_future(_as_coroutine(awaitable)))


@define(eq=False)
class AsyncNode:
    """A `Node` on an asyncio loop; its verbs are those of `Node`, to be awaited.

    It may be created before the loop runs; `start` binds it to the running loop.  With
    Twisted's asyncio reactor, `node` gives Twisted code the same node.  ``async def``
    methods of the policy run as tasks of the loop.

    :param engine: makes the engine from the loop's reactor; the default keeps
        everything in this process.
    :param clock: a clock for tests; None uses the loop.
    """

    _given_policy: PolicyProtocol = field(alias="policy")
    engine: Callable[[Any], Engine] = memory_engine
    options: NodeOptions = field(factory=NodeOptions)
    clock: Clock | None = None
    _node: Node | None = field(default=None, init=False)
    _loop: AbstractEventLoop | None = field(default=None, init=False)

    @property
    def policy(self) -> PolicyProtocol:
        """Decides on the rights of clients; may be replaced at any time."""
        return self._given_policy

    @policy.setter
    def policy(self, policy: PolicyProtocol) -> None:
        self._given_policy = policy
        if self._node is not None:
            self._node.policy = policy

    @property
    def node(self) -> Node:
        """The node for Twisted code.

        :raises RuntimeError: it has not started.
        """
        if self._node is None:
            raise RuntimeError("the node has not started: await node.start() first")
        return self._node

    @property
    def started(self) -> bool:
        """Whether it has started, and not stopped since."""
        return self._node is not None

    @property
    def core(self) -> object:
        """The node's machinery, which the endpoints use; not a public interface."""
        return self.node.core

    # --- Life ------------------------------------------------------------------

    async def start(self) -> None:
        """Connect to the engine and announce the node to the cluster.

        :raises RuntimeError: it has started already, or a Twisted reactor that is not
            this loop's runs in this process.
        """
        if self._node is not None:
            raise RuntimeError("the node has started already")
        self._loop = get_running_loop()
        reactor = reactor_of(self._loop) if self.clock is None else self.clock
        self._node = Node(
            self.engine(reactor), self.policy, reactor, self.options, run=_run_on_loop
        )
        try:
            await self._wait(self._node.start())
        except BaseException:
            self._node = None
            raise

    async def stop(self) -> None:
        """Close every connection with 3001, then disconnect from the engine.

        It takes 6 seconds at most.  The node may start again afterwards.  A node that
        has not started stays as it is.
        """
        node = self._node
        if node is None:
            return
        try:
            await self._wait(node.stop())
        finally:
            self._node = None

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run the node for as long as an application runs.

        It is the ``lifespan`` of a Starlette or FastAPI application.
        """
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def _wait(self, result: "Deferred[T]") -> Awaitable[T]:
        """Return a future for *result*; cancelling it cancels *result*."""
        return result.asFuture(get_running_loop())

    # --- Channels --------------------------------------------------------------

    async def publish(
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
    ) -> PublishResult:
        """Publish a JSON value into *channel*; see `Node.publish`."""
        return await self._wait(
            self.node.publish(
                channel,
                data,
                raw=raw,
                tags=tags,
                skip_history=skip_history,
                idempotency_key=idempotency_key,
                delta=delta,
                version=version,
                version_epoch=version_epoch,
                confirm=confirm,
            )
        )

    async def broadcast(
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
    ) -> list[PublishResult | Error]:
        """Publish the same into several channels; see `Node.broadcast`."""
        return await self._wait(
            self.node.broadcast(
                channels,
                data,
                raw=raw,
                tags=tags,
                skip_history=skip_history,
                idempotency_key=idempotency_key,
                delta=delta,
                version=version,
                version_epoch=version_epoch,
                confirm=confirm,
            )
        )

    async def history(
        self,
        channel: str,
        *,
        limit: int | None = None,
        since: StreamPosition | None = None,
        reverse: bool = False,
    ) -> History:
        """Read a channel's stream; see `Node.history`."""
        return await self._wait(
            self.node.history(channel, limit=limit, since=since, reverse=reverse)
        )

    async def remove_history(self, channel: str) -> None:
        """Delete a channel's publications; its stream position continues."""
        await self._wait(self.node.remove_history(channel))

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Return the clients in *channel*, by client id."""
        return await self._wait(self.node.presence(channel))

    async def presence_stats(self, channel: str) -> PresenceStats:
        """Return the numbers of clients and users in *channel*."""
        return await self._wait(self.node.presence_stats(channel))

    async def receipts(
        self,
        channel: str,
        offset: int,
        *,
        epoch: str = "",
        users: Sequence[str] = (),
        limit: int = 100,
        cursor: str = "",
    ) -> Receipts:
        """Return which users have received a publication; see `Node.receipts`."""
        return await self._wait(
            self.node.receipts(
                channel, offset, epoch=epoch, users=users, limit=limit, cursor=cursor
            )
        )

    async def channels(self, pattern: str = "") -> dict[str, int]:
        """Return the number of subscribers of each channel, over all nodes."""
        return await self._wait(self.node.channels(pattern))

    # --- Clients on all nodes --------------------------------------------------

    async def subscribe(
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
    ) -> None:
        """Subscribe the connections of *user* to *channel*; see `Node.subscribe`."""
        await self._wait(
            self.node.subscribe(
                user,
                channel,
                client=client,
                session=session,
                data=data,
                info=info,
                expire_at=expire_at,
                since=since,
                presence=presence,
                join_leave=join_leave,
                push_join_leave=push_join_leave,
                positioned=positioned,
                recoverable=recoverable,
            )
        )

    async def unsubscribe(
        self, user: str, channel: str, *, client: str = "", session: str = ""
    ) -> None:
        """Unsubscribe the connections of *user* from *channel*, on all nodes."""
        await self._wait(
            self.node.unsubscribe(user, channel, client=client, session=session)
        )

    async def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        disconnect: Disconnect = FORCE_DISCONNECT,
        whitelist: Sequence[str] = (),
    ) -> None:
        """Close the connections of *user*, except the client ids in *whitelist*."""
        await self._wait(
            self.node.disconnect(
                user,
                client=client,
                session=session,
                disconnect=disconnect,
                whitelist=whitelist,
            )
        )

    async def refresh(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        expired: bool = False,
        expire_at: int = 0,
        info: object = ABSENT,
    ) -> None:
        """Set the expiry of the connections of *user*; see `Node.refresh`."""
        await self._wait(
            self.node.refresh(
                user,
                client=client,
                session=session,
                expired=expired,
                expire_at=expire_at,
                info=info,
            )
        )

    # --- Keys ------------------------------------------------------------------

    async def map_publish(
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
    ) -> MapUpdate:
        """Set *key* of the map *channel* to a JSON value; see `Node.map_publish`."""
        return await self._wait(
            self.node.map_publish(
                channel,
                key,
                data,
                raw=raw,
                tags=tags,
                key_mode=key_mode,
                idempotency_key=idempotency_key,
                delta=delta,
                version=version,
                version_epoch=version_epoch,
            )
        )

    async def map_remove(
        self, channel: str, key: str, *, idempotency_key: str = ""
    ) -> MapUpdate:
        """Remove *key* from the map *channel*."""
        return await self._wait(
            self.node.map_remove(channel, key, idempotency_key=idempotency_key)
        )

    async def map_state(
        self,
        channel: str,
        *,
        key: str = "",
        limit: int | None = None,
        cursor: str = "",
    ) -> MapState:
        """Read the entries of a map, or that of one *key*; see `Node.map_state`."""
        return await self._wait(
            self.node.map_state(channel, key=key, limit=limit, cursor=cursor)
        )

    async def map_changes(
        self,
        channel: str,
        *,
        limit: int | None = None,
        since: StreamPosition | None = None,
        reverse: bool = False,
    ) -> MapChanges:
        """Read the changes of a map; see `Node.map_changes`."""
        return await self._wait(
            self.node.map_changes(channel, limit=limit, since=since, reverse=reverse)
        )

    async def map_size(self, channel: str) -> int:
        """Return the number of keys of a map."""
        return await self._wait(self.node.map_size(channel))

    async def map_clear(self, channel: str) -> None:
        """Remove all keys of a map."""
        await self._wait(self.node.map_clear(channel))

    async def shared_poll_publish(
        self,
        channel: str,
        key: str,
        data: object = ABSENT,
        *,
        raw: bytes | None = None,
        version: int,
        epoch: str = "",
    ) -> None:
        """Send a newer value of a shared poll key to the clients that track it."""
        await self._wait(
            self.node.shared_poll_publish(
                channel, key, data, raw=raw, version=version, epoch=epoch
            )
        )

    # --- Nodes -----------------------------------------------------------------

    async def info(self) -> list[NodeInfo]:
        """Return the state of all nodes, this one first."""
        return await self._wait(self.node.info())

    async def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> dict[str, tuple[int, bytes]]:
        """Send a survey to all nodes, or to one; see `Node.survey`."""
        return await self._wait(self.node.survey(op, data, node))
