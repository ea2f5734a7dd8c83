"""The HTTP face of thumbq: JSON routes and live notifications over the gRPC server."""
