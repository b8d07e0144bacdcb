"""The server API over gRPC with workers: one port, and any of them answers."""

import re
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from centrifugo_tx.protocol.proto import api_pb2

from .redis_servers import valkey
from .server import PATIENCE
from .test_grpc_port import free_port
from .test_workers import WorkersCase

#: Connections, each of which the kernel gives to some worker.
CONNECTIONS = 16


@skipUnless(find_spec("grpc"), "grpcio is not installed")
class GRPCWorkersTests(WorkersCase):
    """Two workers share the port of ``grpc_api``."""

    def call(self, channel: Any, method: str, request: Any) -> Any:
        """Call a method over an open channel; return the response."""
        kind = getattr(api_pb2, f"{method}Response")
        path = f"/centrifugal.centrifugo.api.CentrifugoApi/{method}"
        sent = channel.unary_unary(path)(
            request.SerializeToString(),
            metadata=[("authorization", "apikey secret")],
            timeout=PATIENCE,
        )
        return kind.FromString(sent)

    def test_workers(self) -> None:
        """Connections come to both; what any of them publishes reaches all clients."""
        import grpc

        valkey()  # or this is skipped
        port = free_port()
        section = {"enabled": True, "address": "127.0.0.1", "port": port}
        server = self.serve(grpc_api={**section, "key": "secret"})
        clients = self.crowd(server)
        for number in range(CONNECTIONS):
            # With options of its own a channel shares no connection.
            options = [("grpc.primary_user_agent", str(number))]
            channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
            self.addCleanup(channel.close)
            found = self.call(channel, "Info", api_pb2.InfoRequest())
            self.assertEqual(len(found.result.nodes), 2)
            data = str(number).encode()
            request = api_pb2.PublishRequest(channel="news", data=data)
            self.assertFalse(self.call(channel, "Publish", request).HasField("error"))
        for client in clients:
            got = [client.receive()["push"]["pub"]["data"] for _ in range(CONNECTIONS)]
            self.assertEqual(got, list(range(CONNECTIONS)))
        _, metrics = server.request("GET", "/metrics")
        name = rb"centrifugo_api_command_duration_seconds_histogram_count"
        label = rb'worker="(\d)",method="publish",protocol="grpc"'
        calls = re.findall(name + rb"\{" + label + rb"\} (\d+)", metrics)
        self.assertEqual([number for number, _ in calls], [b"1", b"2"], metrics)
        self.assertEqual(sum(int(count) for _, count in calls), CONNECTIONS)
        self.assertEqual(server.log().count("serving GRPC API service on"), 2)
        self.assertEqual(server.complaints(), [])
