"""gRPC beside the reactor; everything here but the loop needs grpcio."""
