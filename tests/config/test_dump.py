"""Configurations written out."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.dump import FORMATS, as_text, as_tree, as_variables
from centrifugo_tx.config.load import load
from centrifugo_tx.config.model import Config

from .test_check import config_of

CONFIG = config_of(
    {
        "client": {"allowed_origins": ["a", "b"], "ping_interval": "1m30s"},
        "channel": {"namespaces": [{"name": "a-b", "history_ttl": "1m"}]},
        "proxies": [
            {"name": "px", "http": {"static_headers": [{"key": "x", "value": 'q"'}]}}
        ],
        "uni_sse": {
            "connect_code_to_http_response": {
                "transforms": [{"code": 1, "to": {"status_code": 400}}]
            }
        },
    }
)


class FileTests(SynchronousTestCase):
    """As files."""

    def test_round_trip(self) -> None:
        """Each format, read again, is the same configuration."""
        for extension in FORMATS:
            path = Path(self.mktemp() + extension)
            path.write_text(as_text(as_tree(CONFIG), extension))
            loaded = load(str(path), {})
            self.assertEqual(loaded.config, CONFIG)
            self.assertEqual(loaded.unknown_keys, [])
            self.assertEqual(loaded.renamed, [])

    def test_durations(self) -> None:
        """Durations are texts, and the name of an item comes first."""
        tree = as_tree(CONFIG)
        self.assertEqual(tree["client"]["ping_interval"], "1m30s")
        self.assertEqual(next(iter(tree["channel"]["namespaces"][0])), "name")


class VariableTests(SynchronousTestCase):
    """As variables."""

    def test_round_trip(self) -> None:
        """The variables, as a shell reads them, are the same configuration."""
        environ = {
            name: json.loads(value) if value.startswith('"') else value
            for name, value, _ in as_variables(CONFIG)
        }
        loaded = load("", environ)
        self.assertEqual(loaded.config, CONFIG)
        self.assertEqual(loaded.unknown_variables, [])

    def test_set(self) -> None:
        """It is known which options differ from their defaults."""
        self.assertEqual(
            [name for name, _, is_set in as_variables(Config()) if is_set], []
        )
        found = {name: value for name, value, is_set in as_variables(CONFIG) if is_set}
        self.assertEqual(found["CENTRIFUGO_CHANNEL_NAMESPACES"], '"a-b"')
        self.assertEqual(found["CENTRIFUGO_CHANNEL_NAMESPACES_A_B_HISTORY_TTL"], "1m0s")
        self.assertEqual(found["CENTRIFUGO_CLIENT_ALLOWED_ORIGINS"], '"a b"')
