"""The Autobahn test cases, against an endpoint that sends back what it gets.

The endpoint shares with the real one all that deals with frames: the front, the
lean protocol, the frame stream, the frame functions and the negotiated compression.
"""

import json
import os
import sys
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from centrifugo_tx.protocol.frames import binary_frame, text_frame
from centrifugo_tx.transports.compression import accept, usable
from centrifugo_tx.transports.lean import LeanFactory, LeanProtocol
from centrifugo_tx.transports.stream import FrameStream, Turn
from centrifugo_tx.web.site import Endpoints, listen

#: Seconds that one run of cases may take.
PATIENCE = 1800.0
#: Cases under way at the same time.
AT_ONCE = 4
#: Bytes of the largest message in these cases, and some.
LARGEST = 1 << 20

_RUN = """
import asyncio, json, os, sys
from kosoku import FailureError, run_fuzzingclient
try:
    results = asyncio.run(run_fuzzingclient(
        sys.argv[1], sys.argv[3:], None, concurrency=int(sys.argv[2])))
    failed = []
except FailureError as failure:
    results, failed = [], failure.results
print(json.dumps([len(results), [repr(result) for result in failed]]), flush=True)
os._exit(0)  # its threads may abort an orderly exit
"""


class Echo(LeanProtocol):
    """Sends messages back."""

    def greet(self, request: Any) -> None:
        """Let everybody in."""
        self.websocket_extensions = usable(self.websocket_extensions)

    def onOpen(self) -> None:
        """Open the way back."""
        self.frames = FrameStream(self.transport, self.factory.turn, LARGEST * 4)
        self.frames.open()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Send it back.

        Our frames stay uncompressed when that is shorter, which is right, but more
        than these cases understand; so Autobahn compresses here.
        """
        if self._perMessageCompress is not None:
            self.sendMessage(payload, isBinary)
        else:
            self.frames.write((binary_frame if isBinary else text_frame)(payload))

    def sendCloseFrame(self, *arguments: Any, **options: Any) -> None:
        """Send what waits first."""
        self.frames.end(drop=False)
        super().sendCloseFrame(*arguments, **options)


class EchoFactory(LeanFactory):
    """Makes connections that echo."""

    protocol = Echo

    def __init__(self) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]  # a module
        self.turn = Turn(reactor, 0)  # type: ignore[arg-type]  # a module
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=5,
            maxMessagePayloadSize=LARGEST,
            maxFramePayloadSize=LARGEST,
            perMessageCompressionAccept=accept,
            allowNullOrigin=True,
        )


@skipUnless(find_spec("kosoku"), "the package kosoku is not installed")
class ConformanceTests(TestCase):
    """RFC 6455 and RFC 7692, case by case."""

    timeout = PATIENCE

    def setUp(self) -> None:
        endpoints = Endpoints(sockets={b"/": EchoFactory()})
        self.port = listen(reactor, 0, "127.0.0.1", endpoints)
        self.addCleanup(self.port.stopListening)

    async def run_cases(self, *patterns: str) -> tuple[int, list[str]]:
        """Run cases in a process of their own; return how many, and what failed."""
        address = f"ws://127.0.0.1:{self.port.getHost().port}"
        arguments = ["-c", _RUN, address, str(AT_ONCE), *patterns]
        output, errors, _ = await getProcessOutputAndValue(
            sys.executable, arguments, env=None
        )
        assert output, errors.decode()
        count, failed = json.loads(output)
        return count, failed

    async def test_frames(self) -> None:
        """Framing, pings, fragments, UTF-8, limits and closing: 1 to 7, and 10."""
        patterns = [f"{chapter}.*" for chapter in (1, 2, 3, 4, 5, 6, 7, 10)]
        self.assertEqual(await self.run_cases(*patterns), (247, []))

    async def test_compression(self) -> None:
        """permessage-deflate, with every kind of offer: 12 and 13.

        All 216 cases take many minutes, so those with the smallest messages stand
        for them; ``CONFORMANCE=all`` runs all.
        """
        if os.environ.get("CONFORMANCE") == "all":
            self.assertEqual(await self.run_cases("12.*", "13.*"), (216, []))
        else:
            patterns = [f"12.{group}.{n}" for group in range(1, 6) for n in (1, 2, 3)]
            patterns += [f"13.{group}.{n}" for group in range(1, 8) for n in (1, 2, 3)]
            self.assertEqual(await self.run_cases(*patterns), (36, []))
