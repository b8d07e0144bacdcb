"""gRPC beside the reactor; everything but the asyncio bridge needs grpcio."""
