"""The flags of the process entry."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.launch import Options


class FlagTests(SynchronousTestCase):
    """Command-line flags (configuration rules, "Flags")."""

    def flags(self, *given: str) -> dict[str, str]:
        """Return the flags that a command line gives."""
        options = Options()
        options.parseOptions(given)
        return options.flags()

    def test_forms(self) -> None:
        """Values come after a space or an equals sign; two have a short form."""
        self.assertEqual(self.flags(), {})
        self.assertEqual(
            self.flags("--http_server.port", "9000", "--log.level=debug"),
            {"http_server.port": "9000", "log.level": "debug"},
        )
        self.assertEqual(
            self.flags("-p", "9000", "-a", "h"),
            {"http_server.port": "9000", "http_server.address": "h"},
        )

    def test_switches(self) -> None:
        """A switch has no value, or one after an equals sign."""
        self.assertEqual(
            self.flags("--health.enabled", "--admin.enabled=false"),
            {"health.enabled": "true", "admin.enabled": "false"},
        )

    def test_config(self) -> None:
        """The file has a default."""
        options = Options()
        options.parseOptions([])
        self.assertEqual(options["config"], "config.json")
        options.parseOptions(["-c", "x.yaml"])
        self.assertEqual(options["config"], "x.yaml")

    def test_unknown(self) -> None:
        """An unknown flag ends the process with code 1."""
        with self.assertRaises(SystemExit) as caught:
            self.flags("--nothing")
        self.assertIn("nothing", str(caught.exception.code))
