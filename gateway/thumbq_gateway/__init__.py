"""The gateway of thumbq: JSON routes and live notifications over the gRPC server."""
