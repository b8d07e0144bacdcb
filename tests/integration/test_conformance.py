"""The Autobahn test cases, against an endpoint that echoes messages.

The endpoint shares all handling of frames with the real one: the protocol detection,
both handshakes, the lean protocol, the frame writer, the frame functions, and
compression.
"""

import json
import os
import sys
import zlib
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from centrifugo_tx.protocol import frames as protocol_frames
from centrifugo_tx.protocol.frames import Deflate
from centrifugo_tx.transports.compression import accept, usable
from centrifugo_tx.transports.frame_writer import FlushBatch, FrameWriter
from centrifugo_tx.transports.lean_websocket import (
    LeanWebSocketFactory,
    LeanWebSocketProtocol,
)
from centrifugo_tx.web.site import Endpoints, ListenerSettings, listen

#: Whether to run the families whole that take minutes.
ALL = os.environ.get("CONFORMANCE") == "all"
#: Seconds that one run of cases may take.
PATIENCE = 1800.0
#: Cases under way at the same time.
AT_ONCE = 4
#: Bytes of the largest message in these cases.
LARGEST = 1 << 24
#: The flag of a compressed message.
RSV1 = 0x40

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


def deflated_anyway(first: int, payload: bytes) -> bytes:
    """Return the frame of a message that is longer when it is compressed.

    Ours stays uncompressed then (RFC 7692, 6), which the client of these cases
    cannot read where compression was negotiated.
    """
    deflate = zlib.compressobj(1, zlib.DEFLATED, -9)
    packed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    whole: bytes = protocol_frames.binary_frame(packed[:-4])
    return bytes((first | RSV1,)) + whole[1:]


class Echo(LeanWebSocketProtocol):
    """Sends messages back."""

    opens_plain_requests = True
    websocket_extensions: Any = ()
    deflate: Deflate | None = None

    def check_request(self, request: Any) -> None:
        """Admit all clients."""
        self.websocket_extensions = usable(self.websocket_extensions)

    def onOpen(self) -> None:
        """Open the way back."""
        self.frames = FrameWriter(self.transport, self.factory.flush_batch, LARGEST * 4)
        self.frames.open()
        negotiated = self._perMessageCompress
        if negotiated is not None:
            bits = negotiated.server_max_window_bits
            self.deflate = Deflate(level=1, window_bits=bits)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Send it back."""
        frames: Any = self.deflate or protocol_frames
        frame = (frames.binary_frame if isBinary else frames.text_frame)(payload)
        if self.deflate is not None and not frame[0] & RSV1:
            frame = deflated_anyway(frame[0], payload)
        self.frames.write(frame)

    def sendCloseFrame(self, *arguments: Any, **options: Any) -> None:
        """Send the queued messages first."""
        self.frames.end(drop=False)
        super().sendCloseFrame(*arguments, **options)


class EchoFactory(LeanWebSocketFactory):
    """Makes connections that echo."""

    protocol = Echo

    def __init__(self) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]  # a module
        self.compresses = True
        self.flush_batch = FlushBatch(reactor, 0)  # type: ignore[arg-type]  # a module
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
        self.port = listen(reactor, endpoints, ListenerSettings(interface="127.0.0.1"))
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

    async def test_large(self) -> None:
        """Messages up to 16 MiB, whole, in fragments and chopped: 9.

        ``CONFORMANCE=all`` runs all 54 cases, else some with smaller messages do.
        """
        if ALL:
            self.assertEqual(await self.run_cases("9.*"), (54, []))
        else:
            patterns = ["9.1.1", "9.2.1", "9.3.9", "9.4.9", "9.5.6", "9.6.6", "9.7.1"]
            self.assertEqual(await self.run_cases(*patterns), (7, []))

    async def test_compression(self) -> None:
        """permessage-deflate, with every kind of offer: 12 and 13.

        All 216 cases take many minutes, so only those with the smallest messages run;
        ``CONFORMANCE=all`` runs all.
        """
        if ALL:
            self.assertEqual(await self.run_cases("12.*", "13.*"), (216, []))
        else:
            patterns = [f"12.{group}.{n}" for group in range(1, 6) for n in (1, 2, 3)]
            patterns += [f"13.{group}.{n}" for group in range(1, 8) for n in (1, 2, 3)]
            self.assertEqual(await self.run_cases(*patterns), (36, []))
