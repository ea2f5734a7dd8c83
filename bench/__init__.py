"""The bench: it measures thumbq through its real API, beside other queues on the same PostgreSQL. See `make bench`."""
