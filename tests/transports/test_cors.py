"""The CORS headers for pages of other origins."""

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.transports.cors import CORS, Headers
from centrifugo_tx.transports.origin import OriginRule

GOOD = b"https://Good.example"


@define
class Asked:
    """A request that has only headers."""

    headers: dict[bytes, bytes]

    def getHeader(self, name: bytes) -> bytes | None:
        return self.headers.get(name)


def headers(asked: dict[bytes, bytes], *patterns: str) -> Headers:
    """Return the headers added to the response to a request with these headers."""
    return CORS(OriginRule(patterns)).headers(Asked(asked))


class HeaderTests(SynchronousTestCase):
    """The headers of all answers."""

    def test_passes(self) -> None:
        """An origin that passes is repeated as it came, and may use credentials."""
        self.assertEqual(
            headers({b"origin": GOOD}, "https://good.example"),
            (
                (b"Access-Control-Allow-Origin", GOOD),
                (b"Access-Control-Allow-Credentials", b"true"),
            ),
        )

    def test_any(self) -> None:
        """Where all origins pass, each still gets its own name."""
        found = dict(headers({b"origin": b"http://x"}, "*"))
        self.assertEqual(found[b"Access-Control-Allow-Origin"], b"http://x")

    def test_fails(self) -> None:
        """Other origins, and requests that no page sent, get none."""
        self.assertEqual(headers({b"origin": b"https://bad"}, "https://good"), ())
        self.assertEqual(headers({b"origin": GOOD}), ())
        self.assertEqual(headers({}, "*"), ())

    def test_asked_headers(self) -> None:
        """The headers that a page wants to send are all allowed."""
        name = b"access-control-request-headers"
        for asked, expected in (
            (b"content-type,x-mine", b"content-type,x-mine"),
            (b"null", None),
            (b"", None),
        ):
            found = dict(headers({b"origin": GOOD, name: asked}, "*"))
            allowed = found.get(b"Access-Control-Allow-Headers")
            self.assertEqual(allowed, expected, asked)
        self.assertEqual(headers({b"origin": b"https://bad", name: b"x"}), ())

    def test_no_header_of_its_own(self) -> None:
        """A value that would end a header line is not repeated."""
        name = b"access-control-request-headers"
        self.assertEqual(headers({b"origin": b"http://x\r\nA: b"}, "*"), ())
        found = headers({b"origin": GOOD, name: b"x\nSet-Cookie: a=b"}, "*")
        self.assertEqual(len(found), 2)


class PreflightTests(SynchronousTestCase):
    """The answers to OPTIONS."""

    def test_passes(self) -> None:
        """A page learns that it may POST, and for how long that holds."""
        asked = Asked({b"origin": GOOD, b"access-control-request-headers": b"a"})
        answer = CORS(OriginRule(["*"])).preflight(asked)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(
            dict(answer.headers),
            {
                b"Access-Control-Allow-Origin": GOOD,
                b"Access-Control-Allow-Credentials": b"true",
                b"Access-Control-Allow-Headers": b"a",
                b"Access-Control-Max-Age": b"300",
                b"Access-Control-Allow-Methods": b"POST, OPTIONS",
            },
        )

    def test_fails(self) -> None:
        """A page of another origin cannot read whether it would be admitted."""
        answer = CORS(OriginRule()).preflight(Asked({b"origin": GOOD}))
        self.assertEqual(answer.status, 204)
        self.assertEqual(
            dict(answer.headers),
            {
                b"Access-Control-Max-Age": b"300",
                b"Access-Control-Allow-Methods": b"POST, OPTIONS",
            },
        )
