"""Databases on the PostgreSQL server of the tests."""

from urllib.parse import urlsplit, urlunsplit


def database_at(server: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
