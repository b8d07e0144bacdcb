"""Configuration and certificate change while clients publish and listen."""

import json
import signal
import ssl
import time
from pathlib import Path
from typing import Any

from .sdk import SDK
from .server import PATIENCE, Server
from .test_python_sdk import PYTHON_SDK
from .test_tls import TLSCase

CLIENTS = 50
#: Publications before the change and after it is complete.
AROUND = 20


class ReloadTests(TLSCase):
    """Clients of the official SDK over TLS."""

    def serve(self) -> Server:
        """Start a server in whose channels every client may publish."""
        tls = {"enabled": True, "cert_pem": self.cert, "key_pem": self.key}
        allowed = {
            f"allow_{what}_for_{whom}": True
            for what in ("publish", "subscribe")
            for whom in ("client", "anonymous")
        }
        server = Server(
            {
                "http_server": {"tls": tls},
                "client": {"allow_anonymous_connect_without_token": True},
                "channel": {"without_namespace": allowed},
            },
            self.context,
        )
        self.addCleanup(server.close)
        return server.start()

    def shown(self, server: Server) -> bytes:
        """Return the certificate that a new connection is shown."""
        with self.dial(server.port, "http/1.1") as dialled:
            certificate = dialled.getpeercert(True)
        assert certificate is not None
        return certificate

    def change(self, server: Server) -> bytes:
        """Change the certificate and an option; return the new certificate."""
        texts = self.authority.issue("127.0.0.1", "localhost")
        for path, text in zip((self.cert, self.key), texts, strict=True):
            Path(path).write_text(text)
        path = server._path("config.json")
        config = json.loads(path.read_text())
        config["client"]["allow_anonymous_connect_without_token"] = False
        path.write_text(json.dumps(config))
        server.signal(signal.SIGHUP)
        return ssl.PEM_cert_to_DER_cert(texts[0])

    def test_reload(self) -> None:
        """No client reconnects or misses a message; later connections see the
        change.
        """
        server = self.serve()
        sdk = SDK(["env", f"SSL_CERT_FILE={self.ca}", *PYTHON_SDK])
        self.addCleanup(sdk.close)
        url = f"wss://127.0.0.1:{server.port}/connection/websocket"
        names = [f"client{number}" for number in range(CLIENTS)]
        for name in names:
            sdk.order("connect", client=name, url=url)
        for name in names:
            sdk.expect("connected", client=name)
            sdk.order("subscribe", client=name, channel="room")
        for name in names:
            sdk.expect("subscribed", client=name)
        connects = len(sdk.pending("connecting"))
        sent = 0

        def publish(count: int) -> None:
            """Let clients publish, one after the other."""
            nonlocal sent
            for _ in range(count):
                name = names[sent % CLIENTS]
                answer = sdk.ask("publish", client=name, channel="room", data=sent)
                self.assertEqual(answer, None)
                sent += 1

        publish(AROUND)
        before = self.shown(server)
        after = self.change(server)
        self.assertNotEqual(before, after)
        end = time.monotonic() + PATIENCE
        while self.shown(server) != after:
            self.assertLess(time.monotonic(), end, server.log())
            publish(1)
        publish(AROUND)
        got: list[Any] = []
        while len(got) < CLIENTS * sent:
            self.assertLess(time.monotonic(), end, f"{len(got)} of {CLIENTS * sent}")
            time.sleep(0.05)
            got = sdk.pending("publication")
        for name in names:
            numbers = [each["data"] for each in got if each["client"] == name]
            self.assertEqual(numbers, list(range(sent)))
        self.assertEqual(len(sdk.pending("connecting")), connects)
        self.assertEqual(sdk.pending("disconnected"), [])
        self.assertEqual(server.log().count("configuration reloaded"), 1)
        # The option applies to new connections.
        sdk.order("connect", client="late", url=url)
        self.assertEqual(sdk.expect("disconnected", client="late")["code"], 3501)
        self.assertEqual(server.complaints(), [])
