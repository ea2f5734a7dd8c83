"""The TypeScript client in node reaches a gateway with TLS, whose private authority NODE_EXTRA_CA_CERTS names."""

import asyncio
from pathlib import Path

from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server
from tests.typescript.compiler import sentences_of
from tests.typescript.conftest import node
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings

STREAM = "every event comes in order, from the moment of going live"


async def test_a_stream_comes_by_https(compiled_tests: Path, database_url: str, tmp_path: Path) -> None:
    assert STREAM in sentences_of("subscribe")
    certificates = Certificates(tmp_path / "tls")
    async with running_server(database_url) as address:
        settings = Settings(http_port=0, server=address, queue_watch_linger=0, **certificates.settings)
        async with running(settings, asyncio.Event()) as port:
            variables = {"THUMBQ_URL": f"https://127.0.0.1:{port}/", "THUMBQ_FOLDER": str(tmp_path)}
            chosen = "--test-name-pattern", f"^{STREAM}$"
            trust = {"NODE_EXTRA_CA_CERTS": str(certificates.ca)}
            await node(compiled_tests / "subscribe.test.js", variables | trust, *chosen)
