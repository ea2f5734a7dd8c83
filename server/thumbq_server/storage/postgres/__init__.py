"""Connections to PostgreSQL: how statements reach it, and what its errors mean."""
