"""Headers of messages that are publications."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.consumers.publications import (
    Malformed,
    PublicationNames,
    Target,
    target_of,
)

NAMES = PublicationNames()
ALL = {
    "centrifugo-channels": "a, b,",
    "centrifugo-idempotency-key": "key",
    "centrifugo-delta": "t",
    "centrifugo-version": "18446744073709551615",
    "centrifugo-version-epoch": "epoch",
    "centrifugo-tag-color": "red",
    "centrifugo-tag-": "",
    "centrifugo-method": "publish",
}


def options(**given: Any) -> dict[str, Any]:
    """Return the options of a publication that says nothing else."""
    return {
        "idempotency_key": "",
        "delta": False,
        "tags": {},
        "version": 0,
        "version_epoch": "",
        **given,
    }


class TargetTests(SynchronousTestCase):
    """Where a publication goes (consumers, "Consumer messages")."""

    def test_all(self) -> None:
        """Channels are not trimmed; what begins with the prefix is a tag."""
        self.assertEqual(
            target_of(ALL, NAMES),
            Target(
                ("a", " b", ""),
                {
                    "idempotency_key": "key",
                    "delta": True,
                    "tags": {"color": "red", "": ""},
                    "version": 2**64 - 1,
                    "version_epoch": "epoch",
                },
            ),
        )

    def test_disabled(self) -> None:
        """An empty name disables its header."""
        names = PublicationNames("centrifugo-channels", "", "", "", "", "")
        found = target_of({**ALL, "": "x"}, names)
        self.assertEqual(found, Target(("a", " b", ""), options()))

    def test_no_channels(self) -> None:
        """Without channels there is no target."""
        self.assertIsNone(target_of({}, NAMES))
        self.assertIsNone(target_of({"centrifugo-channels": ""}, NAMES))

    def test_malformed(self) -> None:
        """Deltas are Go's truth values, versions unsigned 64-bit numbers."""
        for name, value in (
            ("delta", "yes"),
            ("delta", "tRUE"),
            ("version", "-1"),
            ("version", "+1"),
            ("version", "1_0"),
            ("version", "18446744073709551616"),
            ("version", "9" * 10000),
            ("version", "\u0663"),
        ):
            headers = {"centrifugo-channels": "a", f"centrifugo-{name}": value}
            with self.assertRaises(Malformed, msg=value) as caught:
                target_of(headers, NAMES)
            self.assertLess(len(str(caught.exception)), 200)

    def test_empty(self) -> None:
        """An empty delta or version means none, or an error in some sources."""
        for name in ("delta", "version"):
            headers = {"centrifugo-channels": "a", f"centrifugo-{name}": ""}
            self.assertEqual(target_of(headers, NAMES), Target(("a",), options()))
            with self.assertRaises(Malformed):
                target_of(headers, NAMES, empty_is_bad=True)
        zeros = {"centrifugo-channels": "a", "centrifugo-version": "0" * 30 + "7"}
        self.assertEqual(target_of(zeros, NAMES), Target(("a",), options(version=7)))
