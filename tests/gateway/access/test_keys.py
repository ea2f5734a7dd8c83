"""Keys over HTTP: headers, the cookie, hubs, and streams that end with their key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest

from tests.support.service.gateway import running_gateway
from tests.support.service.keys import GATEWAY_SECRET, bearer, keyed, make_key, revoke
from tests.support.service.server import running_server
from thumbq_gateway.access import unkeyed
from thumbq_gateway.access.callers import Unprotected

JOB = {"modelId": 1, "modelHash": "ab" * 32}


@dataclass
class Guarded:
    """A server and a gateway whose queue has keys."""

    server: str
    http: aiohttp.ClientSession
    admins: grpc.aio.Channel
    keys: dict[str, str]

    async def status(self, method: str, path: str, role: str | None = None, **request: Any) -> int:
        headers = bearer(self.keys[role]) if role else {}
        async with self.http.request(method, path, headers=headers, **request) as response:
            return response.status


@asynccontextmanager
async def guarded(database_url: str, **settings: Any) -> AsyncIterator[Guarded]:
    async with running_server(database_url, gateway_secret=GATEWAY_SECRET) as server:
        async with grpc.aio.insecure_channel(server) as channel:
            keys = {"admin": await make_key(channel, "admin")}
        async with (
            keyed(server, keys["admin"]) as admins,
            running_gateway(server, gateway_secret=GATEWAY_SECRET, **settings) as http,
        ):
            for role in ("worker", "producer", "viewer"):
                keys[role] = await make_key(admins, role)
            yield Guarded(server, http, admins, keys)


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[Guarded]:
    async with guarded(database_url) as queue:
        yield queue


async def test_without_a_key_only_the_page_and_the_probes_answer(queue):
    for path in ("/", "/docs", "/healthz", "/readyz"):
        assert await queue.status("GET", path) == 200
    for path in ("/api/thumbnail-jobs", "/api/notifications", "/metrics", "/models/1/thumbnail"):
        assert await queue.status("GET", path) == 401
    assert await queue.status("POST", "/api/thumbnail-jobs", json=JOB) == 401
    assert await queue.status("POST", "/thumbnailHub/negotiate?negotiateVersion=1") == 401


async def test_each_role_may_do_its_part(queue):
    assert await queue.status("POST", "/api/thumbnail-jobs", "producer", json=JOB) == 200
    assert await queue.status("POST", "/api/thumbnail-jobs", "viewer", json=JOB) == 403
    assert await queue.status("POST", "/api/thumbnail-jobs/dequeue", "producer", json={"workerId": "w"}) == 403
    assert await queue.status("POST", "/api/thumbnail-jobs/dequeue", "worker", json={"workerId": "w"}) == 200
    assert await queue.status("POST", "/api/admin/pause", "worker", json={}) == 403
    assert await queue.status("POST", "/api/admin/pause", "admin", json={}) == 200


async def test_a_key_is_shown_in_either_header(queue):
    for headers in (bearer(queue.keys["viewer"]), {"X-Api-Key": queue.keys["viewer"]}):
        async with queue.http.get("/api/thumbnail-jobs", headers=headers) as response:
            assert response.status == 200
    async with queue.http.get("/api/thumbnail-jobs", headers={"X-Api-Key": "tq_wrong"}) as response:
        assert response.status == 401
        assert "tq_wrong" not in await response.text()


async def test_a_page_keeps_its_key_in_a_cookie_that_scripts_cannot_read(queue):
    async with aiohttp.ClientSession(queue.http._base_url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as page:
        async with page.post("/api/session", json={"apiKey": "tq_00000000_" + "x" * 43}) as refused:
            assert refused.status == 401
        async with page.post("/api/session", json={"apiKey": queue.keys["viewer"]}) as begun:
            assert begun.status == 204
            cookie = begun.headers["Set-Cookie"]
            assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
            assert "Secure" not in cookie  # a browser would never send it without TLS
        proxied = {"X-Forwarded-Proto": "https"}
        async with page.post("/api/session", json={"apiKey": queue.keys["viewer"]}, headers=proxied) as begun:
            assert "; Secure" in begun.headers["Set-Cookie"]
        async with page.post("/api/session", json={"apiKey": queue.keys["viewer"]}) as begun:
            assert begun.status == 204
        async with page.get("/api/thumbnail-jobs") as response:
            assert response.status == 200
        async with page.delete("/api/session") as ended:
            assert ended.status == 204
        async with page.get("/api/thumbnail-jobs") as response:
            assert response.status == 401


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "The request body is not valid JSON: "),
        (b"[]", 400, 'The body must be {"apiKey": '),
        (b" " * 5_000, 413, "The request body is larger than 4 KiB."),
    ],
    ids=["half an object", "a list", "too large"],
)
async def test_a_sign_in_that_makes_no_sense_is_refused_in_a_sentence(queue, body, status, message):
    async with queue.http.post("/api/session", data=body) as response:
        assert response.status == status
        assert (await response.json())["message"].startswith(message)


async def test_an_event_stream_ends_with_its_key(queue):
    async with queue.http.get("/api/notifications", headers=bearer(queue.keys["viewer"])) as stream:
        assert stream.status == 200
        await stream.content.readline()
        await revoke(queue.admins, queue.keys["viewer"])
        async with asyncio.timeout(30):
            await until_closed(stream)
    assert await queue.status("GET", "/api/notifications", "viewer") == 401


async def until_closed(stream: aiohttp.ClientResponse) -> None:
    try:
        while await stream.content.read(1000):
            pass
    except aiohttp.ClientPayloadError:
        pass  # a stream in chunks was cut off


async def test_a_hub_connection_is_negotiated_with_a_key_and_ends_with_it(queue):
    path = "/thumbnailHub"
    headers = bearer(queue.keys["viewer"])
    async with queue.http.post(f"{path}/negotiate?negotiateVersion=1", headers=headers) as response:
        token = (await response.json())["connectionToken"]
    # A browser can set no header for a WebSocket: the token stands for the key.
    async with queue.http.ws_connect(f"{path}?id={token}") as socket:
        await socket.send_str('{"protocol":"json","version":1}\x1e')
        assert (await socket.receive(timeout=30)).data == "{}\x1e"
        await revoke(queue.admins, queue.keys["viewer"])
        async with asyncio.timeout(30):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await queue.http.ws_connect(f"{path}?id={token}")


async def test_a_hub_of_workers_takes_no_viewer(queue):
    assert await queue.status("POST", "/thumbnailJobHub/negotiate?negotiateVersion=1", "viewer") == 403
    assert await queue.status("POST", "/thumbnailJobHub/negotiate?negotiateVersion=1", "worker") == 200
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await queue.http.ws_connect("/thumbnailJobHub")


async def test_the_log_of_a_job_takes_lines_without_a_key_while_it_is_in_work_and_for_a_minute(queue, monkeypatch):
    line = {"eventType": "Rendering", "message": "half done"}
    async with queue.http.post("/api/thumbnail-jobs", json=JOB, headers=bearer(queue.keys["producer"])) as response:
        job_id = (await response.json())["jobId"]
    events = f"/thumbnail-jobs/{job_id}/events"
    assert await queue.status("POST", events, json=line) == 401
    assert await queue.status("POST", "/thumbnail-jobs/987654/events", json=line) == 401
    claim = {"json": {"workerId": "w"}, "headers": bearer(queue.keys["worker"])}
    async with queue.http.post("/api/thumbnail-jobs/dequeue", **claim) as response:
        lease = (await response.json())["leaseToken"]
    assert await queue.status("POST", events, json=line) < 300
    assert await queue.status("GET", events) == 401
    picture = {"thumbnailPath": "/1.webp", "sizeBytes": 1, "width": 1, "height": 1, "leaseToken": lease}
    assert await queue.status("POST", f"/thumbnail-jobs/{job_id}/complete", "worker", json=picture) == 200
    assert await queue.status("POST", events, json=line) < 300  # the line that follows the end
    monkeypatch.setattr(unkeyed, "_AFTER_END", 0.0)
    assert await queue.status("POST", events, json=line) == 401


async def test_a_revoked_key_is_refused(queue):
    assert await queue.status("GET", "/api/thumbnail-jobs", "viewer") == 200
    await revoke(queue.admins, queue.keys["viewer"])
    async with asyncio.timeout(30):
        while await queue.status("GET", "/api/thumbnail-jobs", "viewer") != 401:
            await asyncio.sleep(0.05)


async def test_a_gateway_that_the_server_does_not_know_says_so(database_url):
    async with running_server(database_url, gateway_secret=GATEWAY_SECRET) as server:
        async with grpc.aio.insecure_channel(server) as channel:
            admin = await make_key(channel, "admin")
        async with (
            running_gateway(server) as http,
            http.get("/api/thumbnail-jobs", headers=bearer(admin)) as response,
        ):
            assert response.status == 503
            assert "THUMBQ_GATEWAY_SECRET" in await response.text()


async def test_a_gateway_for_other_machines_starts_with_a_key_only(database_url):
    async with running_server(database_url, gateway_secret=GATEWAY_SECRET) as server:
        with pytest.raises(Unprotected, match="thumbq keys create"):
            async with running_gateway(server, gateway_secret=GATEWAY_SECRET, http_host="0.0.0.0"):
                pass
    async with guarded(database_url, http_host="0.0.0.0") as queue:
        assert await queue.status("GET", "/api/thumbnail-jobs") == 401
        assert await queue.status("GET", "/api/thumbnail-jobs", "viewer") == 200


async def test_while_the_server_is_away_its_last_word_on_a_key_counts(database_url):
    async with AsyncExitStack() as life:
        server = await life.enter_async_context(running_server(database_url, gateway_secret=GATEWAY_SECRET))
        async with grpc.aio.insecure_channel(server) as channel:
            admin = await make_key(channel, "admin")
        async with running_gateway(server, gateway_secret=GATEWAY_SECRET) as http:
            assert await metrics(http, admin) == 200
            await life.aclose()
            assert await metrics(http, admin) == 200
            assert await metrics(http, "") == 401
            # Of another key it knows nothing, and lets nothing through.
            assert await metrics(http, f"tq_00000000_{'x' * 43}") == 503


async def metrics(http: aiohttp.ClientSession, key: str) -> int:
    async with http.get("/metrics", headers=bearer(key) if key else {}) as response:
        return response.status
