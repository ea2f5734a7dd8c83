"""Statements that only read."""
