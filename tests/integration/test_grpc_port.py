"""The port that speaks gRPC: encryption, limits, peers that do not read."""

import signal
import socket
import ssl
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.proto import unistream_pb2

from .certificates import Authority
from .listeners import CONSUME
from .ports import free_port
from .server import PATIENCE, Server, connection_token


@skipUnless(find_spec("grpc"), "grpcio is not installed")
class GRPCPortCase(SynchronousTestCase):
    """Has a server of its own for each test."""

    def server_with(self, **options: Any) -> Server:
        """Return a server that is not started."""
        self.port = free_port()
        uni = {"enabled": True, "address": "127.0.0.1", "port": self.port, **options}
        anonymous = {"allow_anonymous_connect_without_token": True}
        server = Server({"uni_grpc": uni, "client": anonymous})
        self.addCleanup(server.close)
        return server

    def called(self, credentials: Any = None, token: str = "", **more: Any) -> Any:
        """Return a call of Consume."""
        import grpc

        target = f"127.0.0.1:{self.port}"
        if credentials is None:
            channel = grpc.insecure_channel(target)
        else:
            channel = grpc.secure_channel(target, credentials)
        self.addCleanup(channel.close)
        request: Any = unistream_pb2.ConnectRequest(token=token, **more)
        consume = channel.unary_stream(CONSUME)
        return consume(request.SerializeToString(), timeout=PATIENCE)

    def status(self, call: Any) -> str:
        """Return the name of the status with which a call fails."""
        import grpc

        with self.assertRaises(grpc.RpcError):
            next(call)
        name: str = call.code().name
        return name


class TLSTests(GRPCPortCase):
    """Encryption, with certificates on one side or on both."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.certificate, self.key = self.authority.issue("127.0.0.1", "localhost")

    def start(self, **more: str) -> None:
        """Start a server with TLS."""
        pems = {"cert_pem": self.certificate, "key_pem": self.key}
        self.server_with(tls={"enabled": True, **pems, **more}).start()

    def credentials(self, *own: str) -> Any:
        """Return a client's authorities, key and certificate."""
        import grpc

        given = [each.encode() for each in own]
        return grpc.ssl_channel_credentials(self.authority.pem.encode(), *given)

    def test_encrypted(self) -> None:
        """A client that trusts the authority is served; one without TLS is not."""
        self.start()
        push: Any = unistream_pb2.Push.FromString(next(self.called(self.credentials())))
        self.assertTrue(push.connect.client)
        self.assertEqual(self.status(self.called()), "UNAVAILABLE")

    def test_client_certificates(self) -> None:
        """With an authority for clients, each needs a certificate of it."""
        self.start(client_ca_pem=self.authority.pem)
        certificate, key = self.authority.issue("client")
        next(self.called(self.credentials(key, certificate)))
        self.assertEqual(self.status(self.called(self.credentials())), "UNAVAILABLE")
        stranger, stranger_key = Authority().issue("client")
        call = self.called(self.credentials(stranger_key, stranger))
        self.assertEqual(self.status(call), "UNAVAILABLE")


class RenewalTests(GRPCPortCase):
    """Certificates that change while the server runs."""

    def shown(self, authority: Authority) -> bytes:
        """Return the certificate that a new connection is shown."""
        context = ssl.create_default_context(cadata=authority.pem)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            certificate = encrypted.getpeercert(True)
        assert certificate is not None
        return certificate

    def test_renewal(self) -> None:
        """New connections get the new certificate, open calls go on."""
        import grpc

        authority, folder = Authority(), Path(self.mktemp()).absolute()
        folder.mkdir()
        cert, key, _ = authority.files(folder, "127.0.0.1", "localhost")
        tls = {"enabled": True, "cert_pem": str(cert), "key_pem": str(key)}
        server = self.server_with(tls=tls).start()
        trusted = grpc.ssl_channel_credentials(authority.pem.encode())
        subs = {"news": unistream_pb2.SubscribeRequest()}
        call = self.called(trusted, connection_token("42"), subs=subs)
        opened: Any = unistream_pb2.Push.FromString(next(call))
        self.assertTrue(opened.connect.client)
        before = self.shown(authority)
        texts = authority.issue("127.0.0.1", "localhost")
        for path, text in zip((cert, key), texts, strict=True):
            path.write_text(text)
        server.signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        while self.shown(authority) == before:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(self.shown(authority), ssl.PEM_cert_to_DER_cert(texts[0]))
        server.api("disconnect", user="42", disconnect={"code": 4000, "reason": "x"})
        last: Any = unistream_pb2.Push.FromString(next(call))
        self.assertEqual(last.disconnect.code, 4000)


class StartTests(GRPCPortCase):
    """Errors that keep a server from starting."""

    def failure(self, server: Server) -> str:
        """Return the error of a server that does not start."""
        with self.assertRaises(AssertionError) as caught:
            server.start()
        lines = [x for x in str(caught.exception).splitlines() if '"fatal"' in x]
        self.assertEqual(len(lines), 1, caught.exception)
        self.assertNotIn("Traceback", str(caught.exception))
        return lines[0]

    def test_taken(self) -> None:
        """A port that is taken is named, with the reason."""
        server = self.server_with()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", self.port))
            other.listen()
            line = self.failure(server)
        self.assertIn(f"127.0.0.1:{self.port}", line)
        self.assertIn("in use", line)

    def test_wrong_key(self) -> None:
        """So is a certificate that cannot be combined with the key."""
        authority = Authority()
        certificate, _ = authority.issue("127.0.0.1")
        _, key = authority.issue("127.0.0.1")
        pems = {"cert_pem": certificate, "key_pem": key}
        server = self.server_with(tls={"enabled": True, **pems})
        self.assertIn("uni_grpc.tls.key_pem: must be", server.refusal())


class LimitTests(GRPCPortCase):
    """Large requests, and peers that do not read."""

    def test_large_request(self) -> None:
        """A request over the limit is refused by gRPC."""
        self.server_with(max_receive_message_size=1000).start()
        next(self.called(name="x" * 900))
        call = self.called(name="x" * 1100)
        self.assertEqual(self.status(call), "RESOURCE_EXHAUSTED")

    def test_stuck(self) -> None:
        """A client that does not read is dropped, and does not delay the stop."""
        server = self.server_with().start()
        token = connection_token("stuck", channels=["news"])
        call = self.called(token=token)
        next(call)
        payload = "x" * 60000
        deadline = time.monotonic() + PATIENCE
        while server.api("channels")["channels"]:
            self.assertLess(time.monotonic(), deadline, "it was not given up")
            server.api("publish", channel="news", data=payload)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.complaints(), [])
