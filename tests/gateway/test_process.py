"""`python -m thumbq_gateway` as a process: how it starts, what it refuses, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.network.http_client import Client
from tests.support.network.ports import free_port
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_runtime.addresses import is_loopback

ABSENT = "203.0.113.7"  # an address for documentation, which this machine has not


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Start a gateway and wait until it listens. Yields the process and its port."""
    readable, writable = os.pipe()
    variables = {**os.environ, "THUMBQ_HTTP_PORT": "0", "THUMBQ_READY_FD": str(writable), **environment}
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "thumbq_gateway",
        env=variables,
        pass_fds=[writable],
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writable)
    try:
        with os.fdopen(readable) as pipe:
            line = await asyncio.to_thread(pipe.read)
        yield started, json.loads(line)["port"]
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def refusal(**environment: str) -> tuple[int | None, str]:
    """Start a gateway that refuses to run. Returns its exit code and message."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "thumbq_gateway",
        env={**os.environ, "THUMBQ_HTTP_PORT": "0", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await asyncio.wait_for(started.communicate(), 30)
    return started.returncode, words.decode()


async def end_of(gateway: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(gateway.wait(), 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order_with_pages_and_workers_waiting(server: str, number: signal.Signals) -> None:
    async with process(THUMBQ_SERVER=server) as (gateway, port):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            client = Client(http)
            async with client.listen() as page:
                await client.announce(1)
                assert await page.models(1) == [1]
                body = {"workerId": "w", "wait": "25s"}
                waiting = asyncio.create_task(client.post("/api/thumbnail-jobs/dequeue", body))
                assert await eventually(lambda: _has_one_waiting(client))
                gateway.send_signal(number)
                assert await end_of(gateway) == 0
                assert (await waiting).status == 503
        assert gateway.stderr is not None
        log = (await gateway.stderr.read()).decode()
    assert "event='gateway.stopped'" in log
    assert "Traceback" not in log


async def test_a_second_signal_ends_it_at_once(server: str) -> None:
    async with process(THUMBQ_SERVER=server) as (gateway, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/thumbnail-jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            assert (await Client(http).get("/healthz")).status == 200
        gateway.send_signal(signal.SIGTERM)
        assert gateway.stderr is not None
        while b"gateway.stopping" not in await gateway.stderr.readline():
            pass
        gateway.send_signal(signal.SIGTERM)
        assert await end_of(gateway) == 1
        writer.close()


async def test_it_lives_but_is_not_ready_without_a_server() -> None:
    async with running_gateway("127.0.0.1:1") as http:
        client = Client(http)
        assert (await client.get("/healthz")).status == 200
        ready = await client.get("/readyz")
        assert (ready.status, ready.headers["Retry-After"]) == (503, "1")
        answer = await client.post("/api/thumbnail-jobs", {"modelId": 1, "modelHash": "a" * 64})
        assert (answer.status, answer.json["code"]) == (503, 14)


async def test_pages_that_come_and_go_in_the_middle_of_everything_do_no_harm(server: str) -> None:
    """It runs as a process, since uvloop raises errors about closed connections that asyncio ignores."""
    async with process(THUMBQ_SERVER=server, THUMBQ_HEARTBEAT="0.03", THUMBQ_QUEUE_WATCH_LINGER="0") as (gateway, port):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            client = Client(http)

            async def come_and_go() -> None:
                for _ in range(15):
                    async with client.listen("queue=true") as page:
                        while (await page.frame()).name != "queue":
                            pass

            async with client.listen() as page:
                visitors = [asyncio.create_task(come_and_go()) for _ in range(8)]
                announced = 0
                while not all(visitor.done() for visitor in visitors):
                    await client.announce(1)
                    announced += 1
                await asyncio.gather(*visitors)
                assert await page.models(announced) == [1] * announced
        assert gateway.returncode is None


async def test_it_refuses_to_be_reached_from_other_machines() -> None:
    code, words = await refusal(THUMBQ_HTTP_HOST="0.0.0.0")
    assert code == 2
    assert words == (
        "thumbq gateway: refusing to listen on 0.0.0.0 without API keys: make one with `thumbq keys create`, and"
        " set THUMBQ_GATEWAY_SECRET for this gateway and its server; or set THUMBQ_INSECURE=1 if the network is"
        " trusted\n"
    )


@pytest.mark.parametrize(
    ("host", "is_private"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
    ],
)
def test_only_loopback_addresses_are_for_this_machine_only(host: str, is_private: bool) -> None:
    assert is_loopback(host) is is_private


@pytest.mark.parametrize("host", ["127.0.0.1", ABSENT])
async def test_an_address_that_may_be_had_later_ends_it_so_that_it_is_started_again(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, words = await refusal(THUMBQ_HTTP_HOST=host, THUMBQ_HTTP_PORT=str(port), THUMBQ_INSECURE="1")
    assert (code, f"thumbq gateway: cannot listen on {host}:{port}" in words) == (1, True)


@pytest.mark.parametrize("variable", ["THUMBQ_HTTP_HOST", "THUMBQ_PEER_HOST"])
async def test_a_host_that_is_no_name_is_told(variable: str) -> None:
    code, words = await refusal(**{variable: "no..name", "THUMBQ_INSECURE": "1"})
    assert code == 1
    assert words.splitlines()[-1] == "thumbq gateway: Nothing can listen on 'no..name': this is no name of a host."


@pytest.mark.parametrize("server", ["tcp://10.0.0.1:50051", "http://127.0.0.1:5009"])
async def test_it_says_so_when_its_server_has_the_address_of_something_else(server: str) -> None:
    code, words = await refusal(THUMBQ_SERVER=server)
    assert (code, words.count("\n")) == (2, 1)
    assert words.startswith(f"thumbq gateway: {server} is ")


async def test_it_says_so_when_it_is_set_up_wrongly() -> None:
    code, words = await refusal(THUMBQ_HTTP_PORT="many")
    assert code == 2
    assert "THUMBQ_HTTP_PORT" in words


async def test_the_port_of_a_hosting_platform_is_taken() -> None:
    free = free_port()
    async with process(THUMBQ_HTTP_PORT="", PORT=str(free)) as (_, port):
        assert port == free


async def _has_one_waiting(client: Client) -> bool:
    return "thumbq_gateway_long_polls 1.0" in (await client.get("/metrics")).text


async def test_a_secret_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    code, words = await refusal(THUMBQ_HUB_SECRET_FILE=str(tmp_path / "missing"))
    assert (code, "THUMBQ_HUB_SECRET_FILE cannot be read" in words) == (2, True)


async def test_a_secret_that_grpc_cannot_send_is_told() -> None:
    code, words = await refusal(THUMBQ_GATEWAY_SECRET="é" * 32)
    sentence = "THUMBQ_GATEWAY_SECRET must have letters, digits and signs of ASCII only"
    assert (code, words) == (2, f"thumbq gateway: {sentence}\n")


async def test_a_door_for_other_gateways_is_not_opened_to_strangers() -> None:
    code, words = await refusal(THUMBQ_PEER_HOST="0.0.0.0")
    assert (code, "refusing to listen on 0.0.0.0" in words) == (2, True)
