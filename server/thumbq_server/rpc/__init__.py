"""The gRPC services: handlers that translate, and nothing else."""
