"""The options of the node, as configured."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.configured_node import node_options, reference_style_version

from .config.test_check import config_of


class OptionTests(SynchronousTestCase):
    """The node takes its options from the configuration."""

    def test_node(self) -> None:
        """Options of clients and channels reach the node."""
        config = config_of(
            {
                "client": {
                    "ping_interval": "30s",
                    "channel_limit": 5,
                    "channel_position_check_delay": "7s",
                    "recovery_max_publication_limit": 9,
                    "connect_include_server_time": True,
                },
                "channel": {"max_length": 10},
                "node": {"name": "n"},
            }
        )
        options = node_options(config)
        self.assertEqual(options.name, "n")
        self.assertEqual(options.ping_interval, 30.0)
        self.assertEqual(options.channel_limit, 5)
        self.assertEqual(options.position_check_delay, 7.0)
        self.assertEqual(options.recovery_limit, 9)
        self.assertEqual(options.channel_max_length, 10)
        self.assertEqual(options.concurrency, 1)
        self.assertTrue(options.include_server_time)

    def test_node_name(self) -> None:
        """The default name ends in the port."""
        self.assertTrue(node_options(Config()).name.endswith("_8000"))


class VersionTests(SynchronousTestCase):
    """The version that clients and monitoring see."""

    def test_form(self) -> None:
        """The version is three numbers and a word for any version of the package."""
        for release, expected in (
            ("0.1.0", "0.1.0 OSS"),
            ("1.2", "1.2.0 OSS"),
            ("7", "7.0.0 OSS"),
            ("1.2.3.4", "1.2.3 OSS"),
            ("1.2.dev3+g12ab.d2026", "1.2.0 OSS"),
            ("2!1.4.0rc1.post2", "1.4.0 OSS"),
            ("odd", "0.0.0 OSS"),
        ):
            self.assertEqual(reference_style_version(release), expected)
        self.assertRegex(node_options(Config()).version, r"^\d+\.\d+\.\d+ OSS$")
