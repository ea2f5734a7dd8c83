"""Web pages of strangers change nothing, whatever they send and whatever name they use."""

from contextlib import aclosing

import aiohttp
import grpc
import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq_gateway.app import register
from thumbq_gateway.parts import build
from thumbq_gateway.settings import Settings

EVIL = "https://evil.example"
JOB = b'{"modelId": 42, "modelHash": "' + b"ab" * 32 + b'"}'


async def enqueue(client: Client, **headers: str) -> int:
    """Enqueue as a page does that must not ask first: with a body of no type."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.post(
        "/api/thumbnail-jobs", data=JOB, headers=headers, skip_auto_headers=["Content-Type"]
    ) as answer:
        return answer.status


async def jobs(client: Client) -> int:
    return len((await client.get("/api/thumbnail-jobs")).json["jobs"])


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "not an origin"},
        {"Origin": "http://xn--a-ecp.ru"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": EVIL, "Sec_Fetch_Site": "cross-site"},
    ],
)
async def test_a_foreign_page_enqueues_nothing(client: Client, headers: dict[str, str]) -> None:
    assert await enqueue(client, **headers) == 403
    assert await jobs(client) == 0


@pytest.mark.parametrize(
    "headers", [{}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {"Content_Type": "application/json"}]
)
async def test_a_program_and_a_page_of_the_gateway_enqueue_as_before(client: Client, headers: dict[str, str]) -> None:
    assert await enqueue(client, **headers) == 200
    origin = str(client.http._base_url).rstrip("/")
    assert await enqueue(client, Origin=origin) == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://thumbq", "thumbq", 200),
        ("http://thumbq", "thumbq:80", 200),
        ("https://thumbq", "thumbq", 200),  # a proxy has taken the encryption off
        ("https://thumbq:443", "thumbq", 200),
        ("http://thumbq:8080", "thumbq:8080", 200),
        ("http://thumbq:8080", "thumbq", 403),
        ("http://thumbq", "other", 403),
    ],
)
async def test_usual_ports_may_be_left_out(client: Client, origin: str, host: str, status: int) -> None:
    assert await enqueue(client, Origin=origin, Host=host) == status


async def test_a_page_of_a_listed_origin_enqueues(server: str) -> None:
    async with running_gateway(server, cors_origins=EVIL) as http:
        assert await enqueue(Client(http), Origin=EVIL, Sec_Fetch_Site="cross-site") == 200


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_a_name_that_leads_here_by_rebinding_reads_nothing(client: Client, name: str) -> None:
    answer = await client.get("/api/thumbnail-jobs", headers={"Host": name})
    assert answer.status == 403
    assert "THUMBQ_ALLOWED_HOSTS" in answer.json["message"]
    assert await enqueue(client, Host=name) == 403


@pytest.mark.changes_nothing
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:1", "[::1]", "thumbq", "app.localhost:80", "10.0.0.7"])
async def test_an_address_and_a_name_without_a_dot_lead_here(client: Client, name: str) -> None:
    assert (await client.get("/api/thumbnail-jobs", headers={"Host": name})).status == 200


async def test_an_allowed_name_leads_here_and_others_do_not(server: str) -> None:
    async with running_gateway(server, allowed_hosts="Thumbq.Example, queue.example.") as http:
        client = Client(http)
        for name, status in {"thumbq.example": 200, "queue.example:80": 200, "evil.example": 403}.items():
            assert (await client.get("/healthz", headers={"Host": name})).status == status


@pytest.mark.changes_nothing
async def test_every_route_that_changes_something_refuses_a_foreign_page(client: Client) -> None:
    """A route that is added later is tried as well."""
    settings = Settings(http_port=0, server="127.0.0.1:1")
    async with grpc.aio.insecure_channel(settings.server) as channel:
        parts = build(settings, channel)
        async with aclosing(parts.forwarder):
            app = register(parts, settings, channel)
    routes = {
        (route.method, route.resource.canonical.replace("{", "").replace("}", ""))
        for route in app.router.routes()
        if route.resource and route.method in {"POST", "PUT", "PATCH", "DELETE"}
    }
    assert len(routes) > 30
    for method, path in routes:
        answer = await client.http.request(method, path, headers={"Origin": EVIL})
        assert answer.status == 403, (method, path)


@pytest.mark.changes_nothing
async def test_a_foreign_page_opens_no_websocket(client: Client) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.http.ws_connect("/thumbnailHub", headers={"Origin": EVIL})
    assert refused.value.status == 403
