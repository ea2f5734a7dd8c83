"""The hubs on the wire: negotiate, handshake, calls, pings, and how a connection ends."""

import asyncio
import json

import aiohttp
import pytest

from tests.compatibility.hubs.wire import HANDSHAKE, Hub, address, negotiate
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq_gateway.signalr import wing

WORKER_HUBS = ["/thumbnailJobHub", "/jobProcessingHub"]


@pytest.mark.parametrize("path", [*WORKER_HUBS, "/thumbnailHub"])
async def test_negotiate_names_a_connection_and_its_transports(client: Client, path: str) -> None:
    answer = await negotiate(client.http, path)
    assert answer["negotiateVersion"] == 1
    assert answer["connectionId"] != answer["connectionToken"]
    assert [transport["transport"] for transport in answer["availableTransports"]] == [
        "WebSockets",
        "ServerSentEvents",
        "LongPolling",
    ]


async def test_an_older_client_negotiates_version_0(client: Client) -> None:
    answer = (await client.post("/thumbnailHub/negotiate")).json
    assert (answer["negotiateVersion"], "connectionToken" in answer) == (0, False)
    async with Hub.opened(client.http, "/thumbnailHub", token=answer["connectionId"]) as hub:
        await hub.send(HANDSHAKE)
        assert await hub.message() == {}


async def test_a_version_that_is_no_number_is_answered_with_an_error(client: Client) -> None:
    answer = await client.post("/thumbnailHub/negotiate?negotiateVersion=one")
    assert (answer.status, answer.json) == (200, {"error": "The negotiateVersion must be a whole number."})


async def test_negotiate_may_be_left_out(client: Client) -> None:
    async with client.http.ws_connect("/thumbnailHub") as socket:
        await socket.send_str(json.dumps(HANDSHAKE) + "\x1e")
        assert await socket.receive_str() == "{}\x1e"


async def test_a_token_of_another_secret_or_hub_or_none_opens_nothing(client: Client, server: str) -> None:
    async with running_gateway(server) as other:
        foreign = (await negotiate(other, "/thumbnailHub"))["connectionToken"]
    of_another_hub = (await negotiate(client.http, "/thumbnailJobHub"))["connectionToken"]
    for token in (foreign, of_another_hub, "x", "a.b.c.d", foreign[:-1]):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.http.ws_connect("/thumbnailHub", params={"id": token})
        assert refused.value.status == 404, token


async def test_a_token_opens_one_connection(client: Client) -> None:
    token = (await negotiate(client.http, "/thumbnailHub"))["connectionToken"]
    async with Hub.opened(client.http, "/thumbnailHub", token=token) as hub:
        await hub.send(HANDSHAKE)
        assert await hub.message() == {}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.http.ws_connect("/thumbnailHub", params={"id": token})
        assert refused.value.status == 409


async def test_another_gateway_with_the_same_secret_takes_the_connection(server: str) -> None:
    async with (
        running_gateway(server, hub_secret="shared") as one,
        running_gateway(server, hub_secret="shared") as other,
    ):
        token = (await negotiate(one, "/thumbnailJobHub"))["connectionToken"]
        async with Hub.opened(other, "/thumbnailJobHub", token=token) as hub:
            await hub.send(HANDSHAKE)
            assert await hub.message() == {}
            await hub.call("RegisterWorker", "worker-1")


@pytest.mark.parametrize(
    ("first", "error"),
    [
        ({"protocol": "messagepack", "version": 1}, "The protocol 'messagepack' is not supported, only 'json' is."),
        ({"protocol": "json", "version": 2}, "Only version 1 of the 'json' protocol is supported."),
        ({"type": 6}, "Expected a handshake request with a protocol."),
        ([], "A message must be a JSON object."),
        (json.loads("[" * 101 + "]" * 101), "A message has more than 100 levels."),
    ],
)
async def test_a_bad_handshake_is_refused_and_ends_the_connection(client: Client, first: object, error: str) -> None:
    async with Hub.opened(client.http, "/thumbnailJobHub") as hub:
        await hub.send(first)
        assert await hub.message() == {"error": error}
        with pytest.raises(EOFError):
            await hub.message()


@pytest.mark.parametrize(
    "text",
    [
        '{"type": 1, "invocationId": "\\ud800", "target": "Frobnicate", "arguments": []}',
        '{"type": 1, "invocationId": "1", "target": "\\udfff", "arguments": []}',
        '{"type": 1, "invocationId": "1", "target": "RegisterWorker", "arguments": ["\\ud800"]}',
        '{"type": 1, "invocationId": "1", "target": "RegisterWorker", "arguments": [NaN]}',
    ],
    ids=["half a character as the id", "as the method", "as an argument", "not a number"],
)
async def test_a_message_that_cannot_be_answered_is_refused_and_ends_the_connection(client: Client, text: str) -> None:
    async with Hub.connected(client.http, "/thumbnailJobHub") as hub:
        await hub.socket.send_str(text + "\x1e")
        assert await hub.message() == {"type": 7, "error": "A message is not valid JSON."}
        with pytest.raises(EOFError):
            await hub.message()


async def test_the_handshake_and_a_call_may_share_a_frame(client: Client) -> None:
    async with Hub.opened(client.http, "/thumbnailJobHub") as hub:
        await hub.send(HANDSHAKE, {"type": 6}, {"type": 1, "target": "RegisterWorker", "arguments": ["w"]})
        assert await hub.message() == {}
        assert (await hub.event("WorkerRegistered"))["workerId"] == "w"


async def test_a_message_may_come_in_pieces(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailJobHub") as hub:
        whole = json.dumps({"type": 1, "invocationId": "7", "target": "RegisterWorker", "arguments": ["w"]})
        await hub.socket.send_str(whole[:20])
        await hub.socket.send_bytes((whole[20:] + "\x1e").encode())
        assert (await hub.event("WorkerRegistered"))["workerId"] == "w"
        assert await hub.message() == {"type": 3, "invocationId": "7"}


async def test_a_call_is_answered_when_it_asks_for_it_and_only_then(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailJobHub") as hub:
        await hub.send({"type": 1, "target": "RegisterWorker", "arguments": ["w"]})
        assert (await hub.event("WorkerRegistered"))["workerId"] == "w"
        await hub.invoke("registerworker", "w", id="12")  # ASP.NET matches names in any case
        assert (await hub.event("WorkerRegistered"))["workerId"] == "w"
        assert await hub.message() == {"type": 3, "invocationId": "12"}


@pytest.mark.parametrize(
    ("target", "arguments", "error"),
    [
        ("Frobnicate", [], "Unknown hub method 'Frobnicate'."),
        ("RegisterWorker", [], "Invocation provides 0 argument(s) but target expects 1."),
        ("RegisterWorker", [" "], "WorkerId is required"),
        ("RegisterWorker", [None], "WorkerId is required"),
        ("RegisterWorker", ["a\r\nb"], "WorkerId must be at most 100 printable characters."),
        ("AcknowledgeJobProcessing", ["x", "w"], "jobId must be a whole number."),
    ],
)
async def test_a_call_that_cannot_be_carried_out_is_answered_with_an_error(
    client: Client, target: str, arguments: list[object], error: str
) -> None:
    async with Hub.connected(client.http, "/thumbnailJobHub") as hub:
        await hub.invoke(target, *arguments)
        assert await hub.message() == {"type": 3, "invocationId": "0", "error": error}
        await hub.call("RegisterWorker", "w")


async def test_a_stream_is_refused_and_messages_of_later_versions_are_passed_over(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as hub:
        await hub.send({"type": 8, "sequenceId": 1}, {"type": 99}, {"type": 5, "invocationId": "1"})
        await hub.send({"type": 4, "invocationId": "1", "target": "Watch", "arguments": []})
        answer = {"type": 3, "invocationId": "1", "error": "'Watch' is not a streaming method."}
        assert await hub.message() == answer


@pytest.mark.parametrize(
    "sent", ["{]\x1e", '{"no":"type"}\x1e', '{"type":1}\x1e', "x" * 32_769, "x" * 32_769 + "\x1e", '"type"\x1e']
)
async def test_a_client_that_breaks_the_protocol_is_told_why_and_sent_away(client: Client, sent: str) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as hub:
        await hub.socket.send_str(sent)
        message = await hub.message()
        assert (message["type"], "allowReconnect" in message) == (7, False)
        assert message["error"]


async def test_a_frame_that_is_too_large_ends_the_connection(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as hub:
        await hub.socket.send_str('{"type":6}\x1e' * 100_000)
        with pytest.raises(EOFError):
            await hub.message()
        assert hub.socket.close_code == 1009


async def test_the_server_pings_and_a_silent_client_is_cut_off(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wing, "SHORTEST_PATIENCE", 4.0)  # enough for the one that talks, on a busy machine too
    async with (
        running_gateway(server, heartbeat=2.0) as http,
        Hub.connected(http, "/thumbnailHub") as talking,
        Hub.connected(http, "/thumbnailHub") as silent,
        asyncio.TaskGroup() as group,
    ):
        keeping = group.create_task(_keep_alive(talking))
        assert (await talking.socket.receive_str()) == '{"type":6}\x1e'
        with pytest.raises(EOFError):
            await silent.message()
        await talking.call("JoinAllModelsGroup")
        keeping.cancel()


async def test_a_client_of_signalr_has_its_own_patience_whatever_the_heartbeat_is(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pings every 15 seconds, and gives up when it hears nothing for 30."""
    async with running_gateway(server, heartbeat=0.03) as http, Hub.connected(http, "/thumbnailHub") as silent:
        for _ in range(20):  # many times the two heartbeats after which it was cut off once
            assert await silent.socket.receive_str() == '{"type":6}\x1e'
    monkeypatch.setattr(wing, "LONGEST_INTERVAL", 0.1)
    async with running_gateway(server, heartbeat=600) as http, Hub.connected(http, "/thumbnailHub") as waiting:
        async with asyncio.timeout(30):
            assert await waiting.socket.receive_str() == '{"type":6}\x1e'


async def _keep_alive(hub: Hub) -> None:
    while True:
        await hub.send({"type": 6})
        await asyncio.sleep(0.05)


async def test_a_client_that_says_goodbye_is_let_go(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as hub:
        await hub.send({"type": 7})
        with pytest.raises(EOFError):
            await hub.message()


async def test_a_gateway_that_stops_asks_its_clients_to_come_again(server: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with running_gateway(server) as http:
            token = (await negotiate(http, "/thumbnailHub"))["connectionToken"]
            socket = await session.ws_connect(f"{address(http)}/thumbnailHub", params={"id": token})
            hub = Hub(socket)
            await hub.send(HANDSHAKE)
            assert await hub.message() == {}
            last = asyncio.create_task(_last_message(hub))
        assert await last == {"type": 7, "allowReconnect": True}
        assert socket.close_code == 1000


async def _last_message(hub: Hub) -> object:
    message = None
    while True:
        try:
            message = await hub.message()
        except EOFError:
            return message
