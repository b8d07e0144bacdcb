"""Option classes describe their options."""

from typing import Literal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.config.schema import is_secret, leaves, options_of
from centrifugo_tx.options import Duration


class Inner(msgspec.Struct, frozen=True):
    """Inner options."""

    name: str = ""
    """The name."""


class Outer(Inner, frozen=True):
    """Outer options."""

    wait: Duration = 1.0
    """How long,
    in short."""
    mode: Literal["", "fast"] = ""
    """How."""
    inner: Inner = Inner()
    """One."""
    more: tuple[Inner, ...] = ()
    """Many."""


class OptionTests(SynchronousTestCase):
    """One class."""

    def test_facts(self) -> None:
        """Names, kinds, defaults, choices and meanings, inherited ones too."""
        found = {option.name: option for option in options_of(Outer)}
        self.assertEqual(list(found), ["name", "wait", "mode", "inner", "more"])
        self.assertEqual(found["name"].meaning, "The name.")
        self.assertEqual(found["wait"].kind, "duration")
        self.assertEqual(found["wait"].default, 1.0)
        self.assertEqual(found["wait"].meaning, "How long,\nin short.")
        self.assertEqual(found["mode"].choices, ("", "fast"))
        self.assertEqual(found["inner"].kind, "section")
        self.assertIs(found["inner"].section, Inner)
        self.assertEqual(found["more"].kind, "sections")
        self.assertTrue(found["more"].named)

    def test_unknown_type(self) -> None:
        """An option that no file can hold is a mistake of ours."""

        class Wrong(msgspec.Struct):
            odd: set[int] = set()

        with self.assertRaisesRegex(TypeError, "odd"):
            options_of(Wrong)

    def test_no_default(self) -> None:
        """Every option has a default."""

        class Wrong(msgspec.Struct):
            needed: int

        with self.assertRaisesRegex(TypeError, "needed"):
            options_of(Wrong)


class TreeTests(SynchronousTestCase):
    """The whole tree."""

    def test_meanings(self) -> None:
        """Every option has a meaning."""
        silent = [path for path, option in leaves(Config) if not option.meaning]
        self.assertEqual(silent, [])

    def test_secrets(self) -> None:
        """Secrets are recognized by their names."""
        for name in (
            *("hmac_secret_key", "key", "password", "secret", "dsn", "key_pem"),
            *("credentials_value", "connection_string", "token", "address", "url"),
        ):
            self.assertTrue(is_secret(name), name)
        self.assertFalse(is_secret("ping_interval"))
