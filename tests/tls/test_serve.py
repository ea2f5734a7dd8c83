"""`thumbq serve` with a certificate: every port has TLS, and the gateways reach their servers by sockets."""

import asyncio
import contextlib
import re
import stat
from pathlib import Path

import aiohttp
import grpc
import pytest

from tests.support.network.certificates import Certificates
from tests.support.network.ports import free_port
from tests.support.service.served import MODEL_HASH, Service, data_folder, serving
from thumbq.v1.queue_pb2 import GetJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(certificates: Certificates):
    folder = certificates.folder
    port = free_port()
    variables = {
        "THUMBQ_TLS_CERT_FILE": str(folder / "server.pem"),
        "THUMBQ_TLS_KEY_FILE": str(folder / "server.key"),
        "THUMBQ_METRICS_PORT": str(port),
        "THUMBQ_PROCESSES": "2",
    }
    with data_folder() as data, serving(data, **variables) as running:
        yield running, port


def browser(certificates: Certificates) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=certificates.context()))


async def test_a_job_comes_by_https_and_is_read_by_grpcs(service: tuple[Service, int], certificates):
    running, _ = service
    assert running.page.startswith("https://127.0.0.1:")
    assert running.grpc_address.startswith("grpcs://127.0.0.1:")
    async with browser(certificates) as http:
        body = {"modelId": 7, "modelHash": MODEL_HASH}
        async with http.post(f"{running.page}api/thumbnail-jobs", json=body) as answer:
            assert answer.status in {200, 201}
            job = int((await answer.json())["jobId"])
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    async with grpc.aio.secure_channel(running.grpc_address.removeprefix("grpcs://"), credentials) as channel:
        found = await QueueServiceStub(channel).GetJob(GetJobRequest(job_id=job))
    assert found.job.model_id == 7


async def test_each_gateway_has_a_server_behind_a_socket_for_the_owner_alone(service: tuple[Service, int]):
    running, _ = service
    sockets = {
        Path(variable.removeprefix("THUMBQ_SERVER=unix:"))
        for process in running.children("thumbq_gateway")
        for variable in Path(f"/proc/{process}/environ").read_text().split("\0")
        if variable.startswith("THUMBQ_SERVER=")
    }
    assert len(sockets) == 2
    assert all(path.is_socket() for path in sockets)
    (folder,) = {path.parent for path in sockets}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_prometheus_scrapes_with_tls_and_a_client_without_it_holds_up_no_other(
    service: tuple[Service, int], certificates
):
    _, port = service
    _, silent = await asyncio.open_connection("127.0.0.1", port)
    async with browser(certificates) as http, aiohttp.ClientSession() as plain:
        with pytest.raises(aiohttp.ClientError):
            await plain.get(f"http://127.0.0.1:{port}/metrics")
        async with http.get(f"https://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
    silent.close()
    assert re.search(r"^thumbq_ready 1", text, re.MULTILINE)


async def test_handshakes_that_fail_leave_no_line_in_the_log(service: tuple[Service, int], certificates):
    running, _ = service
    host, port = running.grpc_address.removeprefix("grpcs://").split(":")
    for _ in range(5):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    async with grpc.aio.secure_channel(f"{host}:{port}", credentials) as channel:
        await asyncio.wait_for(channel.channel_ready(), 60)
    log = Path(f"/proc/{running.parent.pid}/fd/2").read_text()
    assert not [line for line in log.splitlines() if re.search("handshake|ssl", line, re.IGNORECASE)]
