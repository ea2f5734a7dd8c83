"""The gRPC server as such: its ports, its health, its reflection."""
