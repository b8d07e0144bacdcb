"""Policies of applications: decisions now, later, and in coroutines."""

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx import (
    Admission,
    Client,
    Disconnect,
    DisconnectClient,
    Error,
    HistoryQuery,
    Policy,
    Polled,
    Raw,
    ReplyError,
    SubscribeOptions,
)
from centrifugo_tx.embedding.policy import AdaptedPolicy
from centrifugo_tx.interfaces import IPolicy
from centrifugo_tx.testing import FakeClient, MemoryNode, StillWaiting, result_of

ANY: Any = None


class DefaultTests(SynchronousTestCase):
    """What the base class decides."""

    def setUp(self) -> None:
        self.policy = AdaptedPolicy(Policy())
        verifyObject(IPolicy, self.policy)

    def code(self, decide: Any, *arguments: Any) -> int:
        """Return the code of a refusal."""
        try:
            result_of(decide(*arguments))
        except ReplyError as refused:
            return refused.error.code
        except DisconnectClient as refused:
            return refused.disconnect.code
        return 0

    def test_allowed(self) -> None:
        """Every client connects as an anonymous user; channels keep no history."""
        self.assertEqual(result_of(self.policy.connect(ANY, ANY)), Admission())
        self.assertEqual(self.policy.channel("a").history_size, 0)
        self.assertEqual(result_of(self.policy.poll("a", [])), Polled())

    def test_refused(self) -> None:
        """Everything else is refused."""
        policy = self.policy
        for decide in (
            policy.subscribe,
            policy.sub_refresh,
            policy.publish,
            policy.change_map,
            policy.track,
            policy.history,
        ):
            self.assertEqual(self.code(decide, ANY, ANY), 103)
        self.assertEqual(self.code(policy.presence, ANY, "a"), 103)
        self.assertEqual(self.code(policy.rpc, ANY, ANY), 108)
        self.assertEqual(self.code(policy.refresh, ANY, ANY), 3005)
        self.assertEqual(self.code(policy.message, ANY, Raw(b"1")), 3508)


class Scripted(Policy):
    """Answers with what a test has set."""

    answer: Any = None

    def connect(self, client: Client, request: Any) -> Any:
        return Admission(user="ann")

    def _answer(self, *arguments: object) -> Any:
        return self.answer() if callable(self.answer) else self.answer

    subscribe = history = rpc = _answer

    def message(self, client: Client, data: Raw) -> None:
        self._answer()


async def returned(value: Any) -> Any:
    """Return a value, as an ``async def`` method does."""
    return value


async def raised(error: Exception) -> Any:
    """Raise an error in a coroutine."""
    raise error


class Later:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Any:
        yield from ()
        return HistoryQuery(limit=1)


class DecisionTests(SynchronousTestCase):
    """The forms of a decision, seen from a client."""

    def setUp(self) -> None:
        self.policy = Scripted()
        self.client: FakeClient = MemoryNode(self.policy).client()

    def subscribe(self, answer: Any) -> Any:
        """Subscribe while the policy answers so."""
        self.policy.answer = answer
        return self.client.subscribe("a")

    def refused(self, answer: Any) -> int:
        """Return the code of the error."""
        with self.assertRaises(ReplyError) as caught:
            self.subscribe(answer)
        return caught.exception.error.code

    def test_at_once(self) -> None:
        """A value is the decision."""
        self.assertEqual(self.subscribe(SubscribeOptions()), {})

    def test_coroutine(self) -> None:
        """A coroutine returns the decision."""
        self.assertEqual(self.subscribe(lambda: returned(SubscribeOptions())), {})
        self.policy.answer = lambda: returned(Raw(b'{"pong":1}'))
        self.assertEqual(self.client.rpc("ping"), {"pong": 1})

    def test_awaitable(self) -> None:
        """So does any awaitable, and also where the core wants a Deferred."""
        self.policy.answer = Later
        self.assertIsInstance(self.policy.answer(), Awaitable)
        self.assertEqual(self.client.history("a")["publications"], [])

    def test_deferred(self) -> None:
        """A Deferred decides when it fires."""
        waiting: Deferred[SubscribeOptions] = Deferred()
        with self.assertRaises(StillWaiting):
            self.subscribe(waiting)
        waiting.callback(SubscribeOptions())
        self.client.command(unsubscribe={"channel": "a"})

    def test_refusals(self) -> None:
        """An error is raised at once, in a coroutine, or carried by a Deferred."""
        error = ReplyError(Error(1000, "no"))

        def at_once() -> Any:
            raise error

        failed: Deferred[Any] = Deferred()
        failed.errback(error)
        for answer in (at_once, lambda: raised(error), failed):
            self.assertEqual(self.refused(answer), 1000)

    def test_disconnects(self) -> None:
        """A policy closes a connection, also because of a message without reply."""

        def disconnect() -> Any:
            raise DisconnectClient(Disconnect(4500, "banned"))

        self.policy.answer = disconnect
        self.client.message({"a": 1})
        self.assertEqual(self.client.disconnected, Disconnect(4500, "banned"))

    def test_mistake(self) -> None:
        """Any other exception is logged, and is an internal error for the client."""

        def fail() -> Any:
            raise ZeroDivisionError

        self.assertEqual(self.refused(fail), 100)
        self.assertEqual(self.refused(lambda: raised(ZeroDivisionError())), 100)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
