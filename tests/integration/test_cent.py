"""The official client library of the server API, against a running server."""

import cent
from twisted.trial.unittest import SynchronousTestCase

from .server import API_KEY, Server, shared_server

OPTIONS = {
    "channel": {
        "namespaces": [
            {
                "name": "hh",
                "history_size": 10,
                "history_ttl": "60s",
                "presence": True,
            }
        ]
    }
}


class CentTests(SynchronousTestCase):
    """``cent`` 5 and the server understand each other."""

    server: Server

    def setUp(self) -> None:
        self.server = shared_server("cent", OPTIONS)
        self.client = cent.Client(self.url(), API_KEY)
        self.addCleanup(self.client.close)

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/api"

    def test_publish(self) -> None:
        """A publication is in the history, at the position of its result."""
        channel = "hh:publish"
        published = self.client.publish(
            cent.PublishRequest(channel=channel, data={"x": "<é>"}, tags={"a": "b"})
        )
        history = self.client.history(cent.HistoryRequest(channel=channel, limit=-1))
        self.assertEqual(
            (published.offset, published.epoch), (history.offset, history.epoch)
        )
        (publication,) = history.publications
        self.assertEqual(publication.data, {"x": "<é>"})
        self.assertEqual(publication.offset, 1)
        self.client.history_remove(cent.HistoryRemoveRequest(channel=channel))
        history = self.client.history(cent.HistoryRequest(channel=channel, limit=-1))
        self.assertEqual((history.publications, history.offset), ([], 1))

    def test_broadcast(self) -> None:
        """Each channel has its own outcome."""
        outcome = self.client.broadcast(
            cent.BroadcastRequest(channels=["a", "no:such"], data=1)
        )
        good, bad = outcome.responses
        self.assertIsNone(good.error)
        assert bad.error is not None
        self.assertEqual((bad.error.code, bad.error.message), (102, "unknown channel"))

    def test_nobody(self) -> None:
        """Unknown users are not an error."""
        self.client.subscribe(cent.SubscribeRequest(user="u", channel="hh:a"))
        self.client.unsubscribe(cent.UnsubscribeRequest(user="u", channel="hh:a"))
        self.client.disconnect(cent.DisconnectRequest(user="u"))
        self.client.refresh(cent.RefreshRequest(user="u", expired=True))
        presence = self.client.presence(cent.PresenceRequest(channel="hh:a"))
        self.assertEqual(presence.presence, {})
        stats = self.client.presence_stats(cent.PresenceStatsRequest(channel="hh:a"))
        self.assertEqual((stats.num_clients, stats.num_users), (0, 0))
        channels = self.client.channels(cent.ChannelsRequest(pattern="nothing*"))
        self.assertEqual(channels.channels, {})

    def test_info(self) -> None:
        """The nodes are reported."""
        (node,) = self.client.info(cent.InfoRequest()).nodes
        self.assertEqual(node.num_clients, 0)

    def test_batch(self) -> None:
        """Several requests in one have their results in order."""
        requests = [
            cent.PublishRequest(channel="hh:batch", data=1),
            cent.UnsubscribeRequest(user="u", channel="hh:batch"),
            cent.HistoryRequest(channel="hh:batch", limit=1),
        ]
        result = self.client.batch(cent.BatchRequest(requests=requests))
        published, _, history = result.replies
        assert isinstance(published, cent.PublishResult)
        assert isinstance(history, cent.HistoryResult)
        self.assertEqual((published.offset, history.offset), (1, 1))

    def test_errors(self) -> None:
        """API errors and a wrong key raise the library's exceptions."""
        with self.assertRaises(cent.CentApiResponseError) as caught:
            self.client.publish(cent.PublishRequest(channel="no:such", data=1))
        self.assertEqual(caught.exception.code, 102)
        stranger = cent.Client(self.url(), "another key")
        self.addCleanup(stranger.close)
        with self.assertRaises(cent.CentUnauthorizedError):
            stranger.info(cent.InfoRequest())
