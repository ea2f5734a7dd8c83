"""The addresses that the gateway listens on: IPv4, IPv6, both, and names."""

import socket

import aiohttp
import pytest

from tests.support.network.ports import free_port
from tests.support.service.gateway import running_gateway
from thumbq_gateway.http.ports import listen

V4, V6 = "127.0.0.1", "[::1]"


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::1", [V6]),
        ("[::1]", [V6]),
        ("::", [V4, V6]),
        ("[::]", [V4, V6]),
        ("", [V4, V6]),
        ("0.0.0.0", [V4]),
        ("localhost", [V4]),
    ],
)
async def test_it_listens_where_it_is_told_to(host: str, reached: list[str]) -> None:
    async with running_gateway("127.0.0.1:1", http_host=host) as http:
        assert http._base_url is not None
        port = http._base_url.port
        for address in reached:
            async with aiohttp.request("GET", f"http://{address}:{port}/healthz") as answer:
                assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "taken"),
    [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1"), ("", "127.0.0.1"), ("", "::1")],
)
def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(host: str, taken: str) -> None:
    port = free_port()
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, port), family=family), pytest.raises(OSError, match="in use"):
        listen(host, port, reuse_port=False, patience=1)
    for one in listen(host, port, reuse_port=False, patience=1):
        one.close()
