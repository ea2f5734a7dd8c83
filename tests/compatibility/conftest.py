"""The programs of Modelibr against a real server and gateway, for each test its own."""

from tests.gateway.conftest import client, own_client, own_server, restartable, server, thumbnail_root

__all__ = ["client", "own_client", "own_server", "restartable", "server", "thumbnail_root"]
