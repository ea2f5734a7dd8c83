"""Measures thumbq through its real API, beside other queues on the same PostgreSQL: `make bench`."""
