"""The thumbq server: a durable queue of thumbnail jobs over PostgreSQL."""
