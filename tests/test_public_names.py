"""What applications may rely on."""

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
import centrifugo_tx.transports


class PublicNameTests(SynchronousTestCase):
    """The public names, frozen: taking one away breaks somebody."""

    def test_package(self) -> None:
        """Each is there, and no other."""
        names = """
            Admission BrokerUnavailable CentrifugoError ChannelOptions Client
            ConfigError Disconnect DisconnectClient Engine Error Expiry HistoryQuery
            IBroker IBrokerEventHandler IClient IControlEventHandler IController
            IPolicy IPresenceManager ITransport Node NodeOptions Policy PublishOptions
            ReplyError SubscribeOptions Unsubscribe memory_engine
        """
        self.assertEqual(centrifugo_tx.__all__, sorted(names.split()))
        for name in centrifugo_tx.__all__:
            self.assertTrue(hasattr(centrifugo_tx, name), name)

    def test_transports(self) -> None:
        """Embedding needs one name of the transports."""
        self.assertEqual(centrifugo_tx.transports.__all__, ["websocket_resource"])
