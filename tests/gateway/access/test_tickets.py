"""Tickets: the things that a page may do with one, the refusal of changed ones, and the end of each."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs

from tests.gateway.access.test_keys import Guarded, guarded, until_closed
from tests.support.service.gateway import running_gateway
from tests.support.service.keys import GATEWAY_SECRET, bearer, keyed, make_key, revoke
from tests.support.service.server import running_server
from thumbq import Client
from thumbq.client.errors import Conflict, InvalidRequest
from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_runtime.access.api_keys import fingerprint_of
from thumbq_runtime.access.tickets import Ticket, sign


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[Guarded]:
    async with guarded(database_url) as queue:
        yield queue


async def ticket_of(queue: Guarded, role: str = "viewer", **fields: Any) -> str:
    async with queue.http.post("/api/tickets", json=fields, headers=bearer(queue.keys[role])) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["ticket"])


async def status(queue: Guarded, method: str, path: str, ticket: str, **request: Any) -> int:
    async with queue.http.request(method, path, headers=bearer(ticket), **request) as response:
        return response.status


async def announce(queue: Guarded, model_id: int) -> None:
    path = f"/api/test/thumbnail-complete/{model_id}"
    assert await queue.status("POST", path, "admin", json={"status": "Ready"}) == 200


async def test_a_ticket_reads_its_models_and_nothing_else(queue):
    ticket = await ticket_of(queue, modelIds=[7, 8])
    allowed = ["/models/7/thumbnail", "/models/8/thumbnail", "/api/notifications/cursor"]
    for path in (
        *allowed,
        "/models/9/thumbnail?modelId=7",
        "/models/7/thumbnail?modelVersionId=5",
        "/models/9/thumbnail/file",
        "/model-versions/5/thumbnail",
        "/model-versions/5/thumbnail/file",
        "/api/notifications?queue=true",
        "/api/notifications?modelId=7,9",
        "/api/thumbnail-jobs",
        "/api/admin/stats",
        "/metrics",
    ):
        expected = 200 if path in allowed else 403
        assert await status(queue, "GET", path, ticket) == expected, path
    assert await status(queue, "POST", "/models/thumbnails", ticket, json={"modelIds": [7, 8]}) == 200
    assert await status(queue, "POST", "/models/thumbnails", ticket, json={"modelIds": [8, 9]}) == 403
    for path in ("/api/tickets", "/api/thumbnail-jobs", "/api/thumbnail-jobs/dequeue", "/api/admin/pause"):
        assert await status(queue, "POST", path, ticket, json={}) == 403, path
    assert await status(queue, "DELETE", "/models/7/thumbnail", ticket) == 403
    # An address that writes takes none, nor does a port of gRPC; and no address takes a key.
    assert await queue.status("POST", f"/models/thumbnails?ticket={ticket}", json={"modelIds": [7]}) == 401
    async with keyed(queue.server, ticket) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await NotificationServiceStub(channel).GetThumbnail(GetThumbnailRequest(model_id=7))
    for parameter in ("ticket", "access_token"):
        assert await queue.status("GET", f"/models/7/thumbnail?{parameter}={queue.keys['admin']}") == 401


async def test_a_ticket_that_was_changed_is_worth_nothing(queue, capfd):
    ticket = await ticket_of(queue, modelIds=[7])
    begin, key_id, issued, life, key, models, signature = ticket.split(".")
    admin = fingerprint_of(queue.keys["admin"])
    stranger = secrets.token_bytes(32)
    raw = base64.urlsafe_b64decode(signature + "==")
    changed = {
        "all models": [begin, key_id, issued, life, key, "all", signature],
        "other models": [begin, key_id, issued, life, key, "7~9", signature],
        "a longer life": [begin, key_id, issued, "3600", key, models, signature],
        "a later beginning": [begin, key_id, str(int(issued) + 1), life, key, models, signature],
        "another key": [begin, key_id, issued, life, "-", models, signature],
        "no signature": [begin, key_id, issued, life, key, models, ""],
        "half a signature": [begin, key_id, issued, life, key, models, signature[:43]],
        "a changed signature": [
            *(begin, key_id, issued, life, key, models),
            base64.urlsafe_b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode().rstrip("="),
        ],
        "an unknown signing key": [begin, "00000000", issued, life, key, models, signature],
        "another version": ["tt2", key_id, issued, life, key, models, signature],
        "one part more": [begin, key_id, issued, life, key, models, "none", signature],
        "the signature of a stranger": [
            sign(Ticket(admin, None, int(issued), int(life)), key_id, stranger),
        ],
        "JWT without an algorithm": ["eyJhbGciOiJub25lIn0", "eyJyb2xlIjoiYWRtaW4ifQ", ""],
    }
    for what, parts in changed.items():
        text = ".".join(parts)
        assert await queue.status("GET", f"/models/7/thumbnail?ticket={text}") == 401, what
        assert await status(queue, "GET", "/models/7/thumbnail", text) == 401, what
    assert await queue.status("GET", f"/models/7/thumbnail?ticket={ticket}") == 200
    assert await queue.status("GET", f"/models/7/thumbnail?ticket={ticket[:-1]}%0a") == 401
    written = "".join(capfd.readouterr())
    assert signature not in written
    assert queue.keys["viewer"] not in written


async def test_a_stream_has_the_models_of_its_ticket_and_ends_with_the_key(queue):
    ticket = await ticket_of(queue, modelIds=[7])
    async with queue.http.get(f"/api/notifications?after=earliest&ticket={ticket}") as stream:
        assert stream.status == 200
        await announce(queue, 9)
        await announce(queue, 7)
        seen = ""
        async with asyncio.timeout(60):
            while '"modelId":7' not in seen:
                seen += (await stream.content.readline()).decode()
        assert '"modelId":9' not in seen
        await revoke(queue.admins, queue.keys["viewer"])
        async with asyncio.timeout(60):
            await until_closed(stream)
    assert await queue.status("GET", f"/api/notifications?ticket={ticket}") == 401


async def test_a_named_stream_gets_no_models_beyond_its_ticket(queue):
    ticket = await ticket_of(queue, modelIds=[7, 8])
    name = "0123456789abcdef"
    async with queue.http.get(f"/api/notifications?stream={name}&modelId=7&ticket={ticket}") as stream:
        await stream.content.readline()
        body = {"stream": name, "modelIds": [8]}
        assert await status(queue, "POST", "/api/notifications/models", ticket, json=body) == 204
        body["modelIds"] = [8, 9]
        assert await status(queue, "POST", "/api/notifications/models", ticket, json=body) == 403
        # Nor beyond the ticket that it was opened with, which may last longer than the one of the change.
        other = await ticket_of(queue, modelIds=[7, 9])
        assert await status(queue, "POST", "/api/notifications/models", other, json=body) == 403
        body["modelIds"] = [9]
        assert await status(queue, "POST", "/api/notifications/models", other, json=body) == 403
        body["modelIds"] = [7]
        assert await status(queue, "POST", "/api/notifications/models", other, json=body) == 204


async def connected(queue: Guarded, address: str) -> aiohttp.ClientWebSocketResponse:
    socket = await queue.http.ws_connect(address)
    await socket.send_str('{"protocol":"json","version":1}\x1e')
    assert (await socket.receive(timeout=60)).data == "{}\x1e"
    return socket


async def called(socket: aiohttp.ClientWebSocketResponse, method: str, *arguments: Any) -> str:
    """The error of a call, or ""."""
    await socket.send_json(
        {"type": 1, "invocationId": method, "target": method, "arguments": list(arguments)},
        dumps=lambda message: aiohttp.typedefs.DEFAULT_JSON_ENCODER(message) + "\x1e",
    )
    async with asyncio.timeout(60):
        while True:
            for record in str((await socket.receive()).data).split("\x1e"):
                if record and (message := aiohttp.typedefs.DEFAULT_JSON_DECODER(record)).get("invocationId") == method:
                    return str(message.get("error", ""))


async def test_a_connection_to_the_hub_joins_the_models_of_its_ticket(queue):
    ticket = await ticket_of(queue, modelIds=[7])
    negotiate = "/thumbnailHub/negotiate?negotiateVersion=1"
    async with queue.http.post(negotiate, headers=bearer(ticket)) as response:
        token = (await response.json())["connectionToken"]
    # The token of a connection that was negotiated with a ticket stands for nothing.
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await queue.http.ws_connect(f"/thumbnailHub?id={token}")
    socket = await connected(queue, f"/thumbnailHub?id={token}&access_token={ticket}")
    assert await called(socket, "JoinModelGroup", 7) == ""
    assert "other models" in await called(socket, "JoinModelGroup", "9")
    for method, arguments in (("JoinAllModelsGroup", []), ("JoinModelVersionGroup", [1])):
        assert "some models only" in await called(socket, method, *arguments)
    await socket.close()
    for hub in ("/thumbnailJobHub", "/jobProcessingHub"):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await queue.http.ws_connect(f"{hub}?access_token={ticket}")


async def refused(queue: Guarded, address: str, **request: Any) -> int:
    """The status with which a WebSocket is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await queue.http.ws_connect(address, **request)
    return error.value.status


async def test_a_ticket_opens_no_hub_for_foreign_pages_nor_after_its_key_and_is_in_no_log(queue):
    hub = "/thumbnailHub"
    with capture_logs() as logs:
        ticket = await ticket_of(queue, modelIds=[7])
        tokens = []
        for _ in range(2):
            async with queue.http.post(f"{hub}/negotiate?negotiateVersion=1", headers=bearer(ticket)) as response:
                tokens.append((await response.json())["connectionToken"])
        address, polled = (f"{hub}?id={token}&access_token={ticket}" for token in tokens)
        assert await refused(queue, address, headers={"Origin": "https://evil.example"}) == 403
        socket = await connected(queue, address)
        assert await queue.status("GET", polled) == 200
        message = '{"protocol":"json","version":1}\x1e'
        assert await status(queue, "POST", f"{hub}?id={tokens[1]}", ticket, data=message) == 200

        await revoke(queue.admins, queue.keys["viewer"])
        async with asyncio.timeout(60):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert await refused(queue, address) == 401
        assert await status(queue, "POST", f"{hub}/negotiate?negotiateVersion=1", ticket) == 401
        assert await queue.status("GET", polled) == 401
        assert await status(queue, "POST", f"{hub}?id={tokens[1]}", ticket, data=message) == 401
    written = str(logs)
    for secret in (ticket.rpartition(".")[2], *tokens, queue.keys["viewer"]):
        assert secret not in written


async def test_streams_and_connections_end_with_their_ticket(queue):
    ticket = await ticket_of(queue, "admin", life="10s", allModels=True)
    socket = await connected(queue, f"/thumbnailHub?access_token={ticket}")
    async with queue.http.get(f"/api/notifications?ticket={ticket}") as stream, asyncio.timeout(60):
        assert stream.status == 200
        await until_closed(stream)
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert await queue.status("GET", f"/api/notifications?ticket={ticket}") == 401
    assert await queue.status("GET", "/api/notifications/cursor", "admin") == 200


async def test_every_gateway_takes_the_tickets_of_every_server(database_url):
    async with (
        guarded(database_url) as queue,
        running_server(database_url, gateway_secret=GATEWAY_SECRET) as second,
        running_gateway(second, gateway_secret=GATEWAY_SECRET) as http,
        Client(queue.server, api_key=queue.keys["producer"]) as client,
    ):
        ticket = await client.create_ticket([7], life=60)
        async with http.get(f"/models/7/thumbnail?ticket={ticket}") as response:
            assert response.status == 200
        with pytest.raises(InvalidRequest, match="life must be"):
            await client.create_ticket(all_models=True, life=7200)
        with pytest.raises(InvalidRequest, match="modelIds has 201"):
            await client.create_ticket(range(1, 202))


async def test_without_keys_a_ticket_still_narrows_and_ends_with_the_first_key(database_url):
    async with (
        running_server(database_url, gateway_secret=GATEWAY_SECRET) as server,
        running_gateway(server, gateway_secret=GATEWAY_SECRET) as http,
        Client(server) as client,
        grpc.aio.insecure_channel(server) as channel,
    ):
        ticket = await client.create_ticket([7])

        async def read(model_id: int) -> int:
            async with http.get(f"/models/{model_id}/thumbnail?ticket={ticket}") as response:
                return response.status

        assert (await read(7), await read(8)) == (200, 403)
        await make_key(channel, "admin")
        async with asyncio.timeout(60):
            while await read(7) != 401:
                await asyncio.sleep(0.05)
        async with Client(server, api_key=GATEWAY_SECRET) as keyless:
            with pytest.raises(Conflict, match="it takes one to make a ticket"):
                await keyless.create_ticket([7])
