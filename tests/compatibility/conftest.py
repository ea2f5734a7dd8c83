"""The programs of Modelibr against a real server and gateway, for each test its own."""

from tests.gateway.conftest import client, restartable, server, thumbnail_root

__all__ = ["client", "restartable", "server", "thumbnail_root"]
