"""The examples of the guides work."""

from twisted.trial.unittest import SynchronousTestCase

from .page import Page


class GuideTests(SynchronousTestCase):
    """Every block of code on these pages is run unchanged."""

    def run_page(self, name: str) -> None:
        """Run the blocks of one page."""
        page = Page(name)
        self.addCleanup(page.close)
        self.assertGreater(page.run(), 0)

    def test_authentication(self) -> None:
        """Connection tokens and subscription tokens."""
        self.run_page("authentication")

    def test_channels(self) -> None:
        """Namespaces, and permission to subscribe."""
        self.run_page("channels")

    def test_history(self) -> None:
        """Positions, recovery, and publishing once."""
        self.run_page("history")

    def test_presence(self) -> None:
        """Presence, joins and leaves."""
        self.run_page("presence")

    def test_receipts(self) -> None:
        """Which users have received a publication."""
        self.run_page("receipts")

    def test_server_api(self) -> None:
        """Each method, by curl and by ``cent``."""
        self.run_page("server-api-guide")

    def test_deltas(self) -> None:
        """A publication with tags."""
        self.run_page("deltas")

    def test_troubleshooting(self) -> None:
        """Refusals."""
        self.run_page("troubleshooting")

    def test_from_centrifugo(self) -> None:
        """A configuration with which nothing is wrong."""
        self.run_page("from-centrifugo")

    def test_from_others(self) -> None:
        """The same message as with Django Channels, Socket.IO and Pusher."""
        for name in ("from-django-channels", "from-socketio", "from-pusher"):
            with self.subTest(name):
                self.run_page(name)
