"""The plain opening handshake; all others are Autobahn's."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.transports.handshake import accepted, plain_upgrade

PLAIN = (
    b"GET /ws?format=json&a=1&a=2 HTTP/1.1\r\n"
    b"Host: h\r\n"
    b"Upgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Origin: http://o\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: a, b\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


class PlainUpgradeTests(SynchronousTestCase):
    """Requests that are read here, and those left to Autobahn."""

    def test_plain(self) -> None:
        """Headers, parameters, protocols, key and size of a whole request."""
        upgrade = plain_upgrade(PLAIN + b"frames", extensions=False)
        assert upgrade is not None
        self.assertEqual(upgrade.headers["origin"], "http://o")
        self.assertEqual(upgrade.params, {"format": ["json"], "a": ["1", "2"]})
        self.assertEqual(upgrade.protocols, ["a", "b"])
        self.assertEqual(upgrade.size, len(PLAIN))

    def test_left(self) -> None:
        """Anything odd, and extensions where they are negotiated."""
        self.assertIsNone(plain_upgrade(PLAIN, extensions=True))
        for old, new in (
            (b"GET", b"POST"),
            (b"HTTP/1.1", b"HTTP/1.0"),
            (b"/ws", b"http://h/ws"),
            (b"/ws", b"/ws#x"),
            (b"Host: h\r\n", b""),
            (b"Host: h", b"Host: h\r\nHost: i"),
            (b"WebSocket\r\n", b"h2c\r\n"),
            (b"keep-alive, Upgrade", b"keep-alive"),
            (b": 13", b": 8"),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
            (b"Origin: http://o", b"Content-Length: 5"),
            (b"Origin: http://o", b"Transfer-Encoding: chunked"),
            (b"Origin: http://o", b" folded"),
            (b"Origin: http://o", b": no name"),
            (b"Origin: http://o", b"Origin http//o"),
            (b"Origin: http://o", b"Origin : http://o"),
            (b"Origin: http://o", b"Origin: a\nb: c"),
            (b"Origin: http://o", b"Origin: \xff"),
            (b"Origin: http://o", b"Origin: " + b"o" * 5000),
            (b"a, b", b"a,, b"),
            (b"\r\n\r\n", b"\r\n"),
        ):
            with self.subTest(new=new):
                request = PLAIN.replace(old, new, 1)
                self.assertIsNone(plain_upgrade(request, extensions=False))

    def test_answer(self) -> None:
        """The proof is that of RFC 6455, 1.3; the protocol is named if there is one."""
        answer = accepted(b"dGhlIHNhbXBsZSBub25jZQ==", None)
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", answer)
        self.assertNotIn(b"Protocol:", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))
        answer = accepted(b"dGhlIHNhbXBsZSBub25jZQ==", "centrifuge-json")
        self.assertIn(b"Sec-WebSocket-Protocol: centrifuge-json\r\n", answer)
