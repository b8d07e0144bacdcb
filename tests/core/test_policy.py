"""The default policy: every client may connect, and nothing else."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx.core import Policy
from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.interfaces import IPolicy
from centrifugo_tx.options import Admission, Polled


class PolicyTests(SynchronousTestCase):
    """Its answers when an application overrides nothing."""

    def setUp(self) -> None:
        self.policy = Policy()
        verifyObject(IPolicy, self.policy)

    def code(self, asked: "Deferred[Any]") -> int:
        """Return the code of a refusal."""
        refused = self.failureResultOf(asked, ReplyError).value  # type: ignore[arg-type]
        code: int = refused.error.code
        return code

    def test_allowed(self) -> None:
        """Every client connects as an anonymous user; channels keep no history."""
        client: Any = None
        request: Any = None
        admission = self.successResultOf(self.policy.connect(client, request))
        self.assertEqual(admission, Admission())
        self.assertEqual(self.policy.channel("a").history_size, 0)
        self.assertEqual(self.successResultOf(self.policy.poll("a", [])), Polled())

    def test_refused(self) -> None:
        """Without permission a command is refused with 103, a call with 108."""
        client: Any = None
        request: Any = None
        policy = self.policy
        for asked in (
            policy.subscribe(client, request),
            policy.sub_refresh(client, request),
            policy.publish(client, request),
            policy.change_map(client, request),
            policy.track(client, request),
            policy.presence(client, "a"),
            policy.history(client, request),
        ):
            self.assertEqual(self.code(asked), 103)
        self.assertEqual(self.code(policy.rpc(client, request)), 108)

    def test_refresh(self) -> None:
        """No connection is prolonged."""
        client: Any = None
        request: Any = None
        asked = self.policy.refresh(client, request)
        refused = self.failureResultOf(asked, DisconnectClient)  # type: ignore[arg-type]
        self.assertEqual(refused.value.disconnect.code, 3005)
