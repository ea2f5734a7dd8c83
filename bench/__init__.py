"""Measures thumbq through its real API: `make bench`."""
