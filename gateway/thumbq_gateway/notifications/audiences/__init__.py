"""Connections: those that get the same bytes, and the many of one caller."""
