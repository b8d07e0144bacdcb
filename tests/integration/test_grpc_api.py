"""The server API over gRPC: clients as grpcio's compiler makes them, a real server."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
from centrifugo_tx.api import METHODS
from centrifugo_tx.protocol.proto import api_pb2

from . import redis_servers
from .certificates import Authority
from .ports import free_port, is_listening
from .server import API_KEY, PATIENCE, Server, shared_server

KEY = [("authorization", f"apikey {API_KEY}")]
TRANSPORT = ("x-centrifugo-error-mode", "transport")
SERVICE = "centrifugal.centrifugo.api.CentrifugoApi"

HISTORY = {"history_size": 10, "history_ttl": "60s"}
CHANNEL = {
    "without_namespace": {**HISTORY, "presence": True},
    "namespaces": [
        {"name": "bare"},
        {
            **{"name": "maps", "subscription_type": "map"},
            "map": {"mode": "recoverable", "key_ttl": "60s"},
        },
        {"name": "binary", **HISTORY, "publication_data_format": "binary"},
    ],
}


def stub_class() -> Callable[[Any], Any]:
    """Return the client that grpcio's compiler makes of our source."""
    from grpc_tools import protoc

    root = Path(centrifugo_tx.__file__).parents[1]
    source = root / "centrifugo_tx/protocol/proto/api.proto"
    with tempfile.TemporaryDirectory() as made:
        command = ["protoc", f"-I{root}", f"--grpc_python_out={made}", str(source)]
        assert protoc.main(command) == 0
        (module,) = Path(made).rglob("*_pb2_grpc.py")
        spec = importlib.util.spec_from_file_location("api_pb2_grpc", module)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    made_class: Callable[[Any], Any] = loaded.CentrifugoApiStub
    return made_class


@skipUnless(find_spec("grpc"), "grpcio is not installed")
@skipUnless(find_spec("grpc_tools"), "grpcio-tools is not installed")
class GRPCAPICase(SynchronousTestCase):
    """Calls servers that have a port for gRPC."""

    _stub: Callable[[Any], Any] | None = None

    def new_server(
        self, engine: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Server, int]:
        """Return a server of this test's own, not started, and its gRPC port."""
        port = free_port()
        section = {"enabled": True, "address": "127.0.0.1", "port": port, **options}
        tree = {"grpc_api": section, "channel": CHANNEL, "engine": engine or {}}
        server = Server(tree)
        self.addCleanup(server.close)
        return server, port

    def client(self, port: int, credentials: Any = None, **options: Any) -> Any:
        """Return a client of a port."""
        import grpc

        if GRPCAPICase._stub is None:
            GRPCAPICase._stub = stub_class()
        target, extra = f"127.0.0.1:{port}", list(options.items())
        if credentials is None:
            channel = grpc.insecure_channel(target, extra)
        else:
            channel = grpc.secure_channel(target, credentials, extra)
        self.addCleanup(channel.close)
        self.channel = channel
        return GRPCAPICase._stub(channel)

    def failure(self, method: Any, request: Any, metadata: Any = KEY) -> Any:
        """Return the error with which a call fails."""
        import grpc

        with self.assertRaises(grpc.RpcError) as caught:
            method(request, metadata=metadata, timeout=PATIENCE)
        return caught.exception

    def code(self, *call: Any) -> str:
        """Return the name of the status with which a call fails."""
        name: str = self.failure(*call).code().name
        return name


class MethodTests(GRPCAPICase):
    """All methods, on one server."""

    def setUp(self) -> None:
        port = free_port()
        section = {
            **{"enabled": True, "address": "127.0.0.1", "port": port},
            **{"key": API_KEY, "reflection": True},
        }
        options: dict[str, Any] = {
            "grpc_api": section,
            "channel": CHANNEL,
            "prometheus": {"enabled": True},
        }
        self.server = shared_server("grpc_api", options)
        # The first to come has chosen the port.
        self.port = self.server.options["grpc_api"]["port"]
        self.api = self.client(self.port)

    def call(self, name: str, **fields: Any) -> Any:
        """Call a method, and return its response."""
        request = getattr(api_pb2, f"{name}Request")(**fields)
        return getattr(self.api, name)(request, metadata=KEY, timeout=PATIENCE)

    def test_table(self) -> None:
        """The service has the methods that there are over HTTP, and no others."""
        service: Any = api_pb2.DESCRIPTOR.services_by_name["CentrifugoApi"]
        names = {method.grpc_name for method in METHODS.values()}
        self.assertEqual(names, {method.name for method in service.methods})
        for name in names:
            response = self.call(name)
            self.assertIn(f"{name}Response", response.DESCRIPTOR.full_name)

    def test_publish(self) -> None:
        """Publications over gRPC are in the history over HTTP, and vice versa."""
        self.call("Publish", channel="p", data=b'{"n": 1}', tags={"a": "b"})
        published = self.call("Publish", channel="p", b64data="eyJuIjogMn0=").result
        self.assertEqual(published.offset, 2)
        over_http = self.server.api("history", channel="p", limit=10)
        self.assertEqual(
            [each["data"] for each in over_http["publications"]], [{"n": 1}, {"n": 2}]
        )
        history = self.call("History", channel="p", limit=-1).result
        first = history.publications[0]
        self.assertEqual((first.data, dict(first.tags)), (b'{"n": 1}', {"a": "b"}))
        self.assertEqual(history.epoch, over_http["epoch"])
        self.call("HistoryRemove", channel="p")
        left = self.call("History", channel="p", limit=-1).result
        self.assertEqual((list(left.publications), left.offset), ([], 2))

    def test_binary(self) -> None:
        """Payloads are bytes, none of which is lost."""
        every = bytes(range(256))
        self.call("Publish", channel="binary:b", data=every)
        found = self.call("History", channel="binary:b", limit=1).result
        self.assertEqual(found.publications[0].data, every)

    def test_broadcast(self) -> None:
        """Each channel has a response of its own."""
        sent = self.call("Broadcast", channels=["b", "nowhere:b", ""], data=b"1")
        responses = sent.result.responses
        self.assertEqual([each.error.code for each in responses], [0, 102, 107])
        self.assertEqual(responses[0].result.offset, 1)

    def test_users(self) -> None:
        """Methods for connections succeed when the user has none."""
        for name, fields in {
            "Subscribe": {"channel": "u", "user": "42", "all_users": True},
            "Unsubscribe": {"channel": "u", "user": "42"},
            "Disconnect": {"user": "42", "disconnect": {"code": 4000}},
            "Refresh": {"user": "42", "expire_at": 2**40},
        }.items():
            response = self.call(name, **fields)
            self.assertTrue(response.HasField("result"), name)
            self.assertFalse(response.HasField("error"), name)

    def test_presence(self) -> None:
        """Nobody is in a channel without subscribers."""
        self.assertEqual(dict(self.call("Presence", channel="x").result.presence), {})
        stats = self.call("PresenceStats", channel="x").result
        self.assertEqual((stats.num_clients, stats.num_users), (0, 0))
        self.assertEqual(self.call("Presence", channel="bare:x").error.code, 108)
        self.assertEqual(dict(self.call("Channels").result.channels), {})

    def test_info(self) -> None:
        """The node says the same of itself as over HTTP."""
        (node,) = self.call("Info").result.nodes
        (other,) = self.server.api("info")["nodes"]
        self.assertEqual((node.uid, node.name), (other["uid"], other["name"]))

    def test_maps(self) -> None:
        """A key is set, read and taken away."""
        where = {"channel": "maps:m", "key": "k"}
        self.call("MapPublish", **where, data=b"7", tags={"a": "b"}, score=1)
        again = self.call("MapPublish", **where, data=b"8", key_mode="if_new").result
        self.assertEqual(
            (again.suppressed, again.suppress_reason), (True, "key_exists")
        )
        (entry,) = self.call(
            "MapReadState", channel="maps:m", limit=5, asc=True
        ).result.entries
        self.assertEqual((entry.key, entry.data), ("k", b"7"))
        self.assertEqual(self.call("MapStats", channel="maps:m").result.num_keys, 1)
        self.call("MapRemove", **where)
        changes = self.call("MapReadStream", channel="maps:m", limit=5).result.entries
        self.assertEqual([each.removed for each in changes], [False, True])
        self.assertTrue(self.call("MapClear", channel="maps:m").HasField("result"))

    def test_batch(self) -> None:
        """Replies are in order, each a result or an error."""
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "batch", "data": b"1"}},
            {},
            {"unsubscribe": {"channel": "batch"}},
            {"history": {"channel": "bare:x"}},
        ]
        for parallel in (False, True):
            replies = self.call("Batch", commands=commands, parallel=parallel).replies
            self.assertEqual([each.error.code for each in replies], [0, 104, 0, 108])
            self.assertGreater(replies[0].publish.offset, 0)
            self.assertTrue(replies[2].HasField("unsubscribe"))

    def test_large_batch(self) -> None:
        """Thousands of commands have thousands of replies, in order."""
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": "many" if n % 2 else "nowhere:x", "data": b"1"}}
            for n in range(5000)
        ]
        replies = self.call("Batch", commands=commands).replies
        codes = [each.error.code for each in replies]
        self.assertEqual(codes, [102, 0] * 2500)

    def test_unknown_fields(self) -> None:
        """Fields of a newer client are ignored, in a batch, too."""
        newer = b"\xfa\x3f\x02hi"
        publish = api_pb2.PublishRequest(channel="newer", data=b"1").SerializeToString()
        request = api_pb2.PublishRequest.FromString(publish + newer)
        sent = self.api.Publish(request, metadata=KEY)
        self.assertGreater(sent.result.offset, 0)
        connections = b"\x0a\x03\x8a\x01\x00"  # a command of the commercial edition
        batch = api_pb2.BatchRequest.FromString(connections)
        (reply,) = self.api.Batch(batch, metadata=KEY).replies
        self.assertEqual(reply.error.code, 104)

    def test_key(self) -> None:
        """Without the exact key no method runs, and its request is not even read."""
        request = api_pb2.PublishRequest(channel="secret", data=b"1")
        wrong = ("apikey x", f"Apikey {API_KEY}", f"apikey  {API_KEY}", API_KEY, "")
        for shown in wrong:
            metadata = [("authorization", shown)]
            error = self.failure(self.api.Publish, request, metadata)
            said = error.code().name, error.details()
            self.assertEqual(said, ("UNAUTHENTICATED", "unauthenticated"), shown)
        self.assertEqual(self.code(self.api.Publish, request, None), "UNAUTHENTICATED")
        large = api_pb2.PublishRequest(channel="secret", data=b"x" * 5_000_000)
        self.assertEqual(self.code(self.api.Publish, large, None), "UNAUTHENTICATED")
        history = self.server.api("history", channel="secret", limit=1)
        self.assertEqual(history["publications"], [])
        self.assertIn("wrong API key", self.server.log())

    def test_transport_errors(self) -> None:
        """A caller may ask for errors as statuses, with the error in the details."""
        from grpc_status import rpc_status

        metadata = [*KEY, TRANSPORT]
        for method, request, name, code in (
            (self.api.Publish, {"channel": "a:b", "data": b"1"}, "NOT_FOUND", 102),
            (self.api.RPC, {"method": "x"}, "NOT_FOUND", 104),
            (self.api.Publish, {}, "INVALID_ARGUMENT", 107),
            (self.api.Presence, {"channel": "bare:x"}, "INVALID_ARGUMENT", 108),
            (
                self.api.History,
                {"channel": "a", "since": {"epoch": "other"}},
                "OUT_OF_RANGE",
                112,
            ),
            (self.api.Channels, {"pattern": "["}, "INTERNAL", 100),
        ):
            made = {
                **{self.api.Publish: api_pb2.PublishRequest},
                **{self.api.RPC: api_pb2.RPCRequest},
                **{self.api.Presence: api_pb2.PresenceRequest},
                **{self.api.History: api_pb2.HistoryRequest},
                **{self.api.Channels: api_pb2.ChannelsRequest},
            }[method](**request)
            error = self.failure(method, made, metadata)
            self.assertEqual(error.code().name, name)
            detail: Any = api_pb2.Error()
            status = rpc_status.from_call(error)
            self.assertTrue(status.details[0].Unpack(detail))
            self.assertEqual((detail.code, detail.message), (code, error.details()))
        batch = api_pb2.BatchRequest(commands=[{}])
        (reply,) = self.api.Batch(batch, metadata=metadata).replies
        self.assertEqual(reply.error.code, 104)

    def test_malformed(self) -> None:
        """A malformed message ends only its call; so does one that is too large."""
        send = self.channel.unary_unary(f"/{SERVICE}/Publish")
        self.assertEqual(self.code(send, b"\xff\xff"), "INTERNAL")
        self.assertEqual(self.code(send, b"\x0a\x02\xff\xff"), "INTERNAL")
        large = api_pb2.PublishRequest(channel="x", data=b"x" * 4_200_000)
        self.assertEqual(self.code(self.api.Publish, large), "RESOURCE_EXHAUSTED")
        self.assertEqual(
            self.call("Publish", channel="bare:x", data=b"1").error.code, 0
        )

    def test_unimplemented(self) -> None:
        """Methods of the commercial edition, and those of nobody, say so."""
        for path in (f"/{SERVICE}/Connections", f"/{SERVICE}/X", "/other.Service/X"):
            call = self.channel.unary_unary(path)
            self.assertEqual(self.code(call, b""), "UNIMPLEMENTED", path)

    def test_compressed(self) -> None:
        """Requests may be compressed."""
        import grpc

        request = api_pb2.PublishRequest(channel="gzip", data=b'"' + b"x" * 9000 + b'"')
        sent = self.api.Publish(
            request, metadata=KEY, compression=grpc.Compression.Gzip
        )
        self.assertEqual(sent.result.offset, 1)

    def test_reflection(self) -> None:
        """Both versions of reflection name the service, and describe it."""
        from google.protobuf.descriptor_pb2 import FileDescriptorProto
        from grpc_reflection.v1alpha import reflection_pb2

        for version in ("v1", "v1alpha"):
            ask = self.channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            questions = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
            ]
            names, files = ask(iter(questions), timeout=PATIENCE)
            self.assertIn(
                SERVICE, [each.name for each in names.list_services_response.service]
            )
            (written,) = files.file_descriptor_response.file_descriptor_proto
            described = FileDescriptorProto.FromString(written)
            self.assertEqual(described.package, "centrifugal.centrifugo.api")

    def test_metrics(self) -> None:
        """Calls are counted by method, errors by code, under the protocol grpc."""
        self.call("Publish", channel="nowhere:x", data=b"1")
        text = self.server.request("GET", "/metrics")[1].decode()
        self.assertIn(
            'centrifugo_api_command_errors_total{error="102",method="publish",'
            'protocol="grpc"}',
            text,
        )
        self.assertIn(
            'centrifugo_api_command_duration_seconds_histogram_count{method="publish",'
            'protocol="grpc"}',
            text,
        )

    def test_deadline(self) -> None:
        """A batch ends early if its caller cancels."""
        commands: list[dict[str, Any]] = [
            {"publish": {"channel": f"late{n % 9}", "data": b"1"}} for n in range(60000)
        ]
        request = api_pb2.BatchRequest(commands=commands)
        before = self.published()
        call = self.api.Batch.future(request, metadata=KEY)
        deadline = time.monotonic() + PATIENCE
        while self.published() == before:
            self.assertLess(time.monotonic(), deadline, "it did not begin")
        call.cancel()
        begun = self.published()
        while begun != (now := self.published()):
            begun = now
        self.assertLess(begun - before, 60000)
        self.assertEqual(self.server.complaints(), [])

    def published(self) -> int:
        """Return how often something was published into the channels of a test."""
        return sum(
            int(self.server.api("history", channel=f"late{n}")["offset"])
            for n in range(9)
        )


class PortTests(GRPCAPICase):
    """Options of the port."""

    def test_open(self) -> None:
        """Without a key any caller may call; errors are statuses if so configured."""
        server, port = self.new_server(
            error_mode="transport", max_receive_message_size=1000
        )
        server.start()
        api = self.client(port)
        request = api_pb2.PublishRequest(channel="a", data=b"1")
        self.assertEqual(api.Publish(request).result.offset, 1)
        empty = api_pb2.PublishRequest()
        self.assertEqual(self.code(api.Publish, empty, None), "INVALID_ARGUMENT")
        large = api_pb2.PublishRequest(channel="a", data=b"1" * 1000)
        self.assertEqual(self.code(api.Publish, large, None), "RESOURCE_EXHAUSTED")
        ask = self.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        )
        with self.assertRaises(Exception) as caught:
            next(ask(iter([b""]), timeout=PATIENCE))
        error: Any = caught.exception
        self.assertEqual(error.code().name, "UNIMPLEMENTED")

    def test_tls(self) -> None:
        """With an authority for clients, each needs a certificate of it."""
        import grpc

        authority = Authority()
        certificate, key = authority.issue("127.0.0.1", "localhost")
        server, port = self.new_server(
            tls={
                **{"enabled": True, "cert_pem": certificate, "key_pem": key},
                "client_ca_pem": authority.pem,
            },
        )
        server.start()
        known, known_key = authority.issue("client")
        root = authority.pem.encode()
        request = api_pb2.PublishRequest(channel="a", data=b"1")
        own = grpc.ssl_channel_credentials(root, known_key.encode(), known.encode())
        self.assertEqual(self.client(port, own).Publish(request).result.offset, 1)
        for credentials in (grpc.ssl_channel_credentials(root), None):
            stranger = self.client(port, credentials)
            self.assertEqual(self.code(stranger.Publish, request), "UNAVAILABLE")

    def test_start(self) -> None:
        """The one line of the failure names a port that is taken."""
        server, port = self.new_server()
        other, _ = self.new_server(port=port)
        server.start()
        self.assertIn(f"127.0.0.1:{port}", other.refusal())

    def test_stop(self) -> None:
        """A call under way is answered, though the server has begun to stop."""
        storage = redis_servers.Server(redis_servers.valkey()).start()
        self.addCleanup(storage.stop)
        redis = {"address": [storage.address], "io_timeout": "60s"}
        server, port = self.new_server({"type": "redis", "redis": redis})
        server.start()
        api = self.client(port)
        storage.pause()
        call = api.Publish.future(api_pb2.PublishRequest(channel="last", data=b"1"))
        # Calls of one connection begin in their order: this one is answered, so that
        # one is under way, and waits for its storage.
        refused = api.Publish(api_pb2.PublishRequest(), timeout=PATIENCE)
        self.assertEqual(refused.error.code, 107)
        server.signal(signal.SIGTERM)
        while is_listening(port):
            time.sleep(0.001)
        self.assertFalse(call.done())
        storage.resume()
        self.assertEqual(call.result(PATIENCE).result.offset, 1)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.complaints(), [])


class PageTests(GRPCAPICase):
    """The examples of the page on the gRPC API work."""

    def test_example(self) -> None:
        """The configuration, the compiler's line and the client work together."""
        root = Path(__file__).parents[2]
        page = (root / "docs" / "grpc-api.rst").read_text()
        (block,) = re.findall(r"code-block:: json\n\n((?:    .*\n)+)", page)
        (line,) = re.findall(r"\n    python (-m grpc_tools.protoc .*)\n", page)
        options = json.loads(block)
        port = options["grpc_api"]["port"] = free_port()
        server = Server(options).start()
        self.addCleanup(server.close)
        sources = root / "centrifugo_tx" / "protocol" / "proto"
        command = line.replace("PROTO", str(sources)).split()
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(root / "docs" / "examples" / "publish_grpc.py", folder)
            for arguments in (command, ["publish_grpc.py"]):
                done = subprocess.run(
                    [sys.executable, *arguments],
                    cwd=folder,
                    env={**os.environ, "ADDRESS": f"127.0.0.1:{port}"},
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "published\n")
