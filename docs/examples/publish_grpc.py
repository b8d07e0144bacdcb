"""Publish a message over gRPC."""

import os

import api_pb2
import api_pb2_grpc
import grpc

address = os.environ.get("ADDRESS", "localhost:10000")
key = [("authorization", "apikey KEY")]

with grpc.insecure_channel(address) as channel:
    api = api_pb2_grpc.CentrifugoApiStub(channel)
    request = api_pb2.PublishRequest(channel="news", data=b'{"text": "Hello"}')
    response = api.Publish(request, metadata=key, timeout=5)
    if response.HasField("error"):
        raise SystemExit(f"not published: {response.error.message}")
    print("published")
