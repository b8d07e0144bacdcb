"""Payloads are checked once, and carry the result."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.errors import EncodeError
from centrifugo_tx.protocol.json_codec import encode_push
from centrifugo_tx.protocol.messages import Message, Push
from centrifugo_tx.protocol.payloads import (
    EMPTY,
    Binary,
    Raw,
    checked,
    detached,
    is_binary,
    is_json,
)


class CheckedTests(SynchronousTestCase):
    """JSON becomes a Raw, anything else a Binary."""

    def test_is_json(self) -> None:
        """JSON of any white space and any half of an emoji can be sent; only that."""
        for content in (
            b"1",
            b' {"a":[]} ',
            b'"\\ud83d"',
            "\u00e9".join('""').encode(),
        ):
            self.assertTrue(is_json(content), repr(content))
        for content in (b"", b"x", b"1 2", b'"\xff"', b"NaN", b"[" * 5000):
            self.assertFalse(is_json(content), repr(content))

    def test_kinds(self) -> None:
        """Bytes and unchecked payloads become checked payloads of their kind."""
        for wrap in (bytes, Raw):
            self.assertIsInstance(checked(wrap(b"[1]")), Raw)
            self.assertIsInstance(checked(wrap(b"[1")), Binary)
            self.assertIs(checked(wrap(b"")), EMPTY)
        self.assertIs(checked(EMPTY), EMPTY)
        binary = checked(b"\x00")
        self.assertTrue(is_binary(binary))
        self.assertIs(checked(binary), binary)

    def test_contents(self) -> None:
        """Both kinds have the same methods, and keep their bytes."""
        for content in (b'{"a":1}', b"\x00\xff"):
            payload = checked(content)
            self.assertEqual(bytes(payload), content)
            self.assertEqual(len(payload), len(content))
            self.assertEqual(bytes(detached(payload)), content)
            self.assertEqual(is_binary(detached(payload)), is_binary(payload))
        self.assertIs(detached(EMPTY), EMPTY)

    @settings(deadline=None)
    @given(
        st.binary(max_size=30)
        | st.text('[]{}"\\,:1a\n ', max_size=12).map(str.encode)
        | st.recursive(
            st.none() | st.integers() | st.text(), lambda each: st.lists(each)
        ).map(lambda value: json.dumps(value).encode())
    )
    def test_field(self, content: bytes) -> None:
        """No payload breaks out of its field: it is sent as itself, or not at all."""
        push = Push(message=Message(checked(content)))
        try:
            encoded = encode_push(push)
        except EncodeError:
            self.assertFalse(is_json(content))
            return
        expected: dict[str, object] = {}
        if content:
            expected["data"] = json.loads(content)
        self.assertEqual(json.loads(encoded), {"push": {"message": expected}})
        self.assertNotIn(b"\n", encoded)
