"""New files count from the next handshake on, and what is open stays open: on the gRPC port and on the HTTP port."""

import asyncio
import json
import os
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest

from tests.support.network.certificates import Certificates, answers_hello_of, shown_serial
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import PublishTestNotificationRequest, SubscribeRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings


@asynccontextmanager
async def grpc_port(database_url, certificates):
    async with running_server(database_url, **certificates.settings) as address:
        yield int(address.rpartition(":")[2])


@asynccontextmanager
async def http_port(database_url, certificates):
    async with running_server(database_url) as address:
        settings = Settings(http_port=0, server=address, queue_watch_linger=0, **certificates.settings)
        async with running(settings, asyncio.Event()) as port:
            yield port


LISTENERS = pytest.mark.parametrize("listener", [grpc_port, http_port], ids=["gRPC", "HTTP"])


def channel_to(port: int, certificates: Certificates) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(certificates.ca.read_bytes()),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


@LISTENERS
async def test_a_renewed_certificate_is_shown_in_the_next_handshake(listener, database_url, certificates):
    async with listener(database_url, certificates) as port:
        first = await shown_serial(port, certificates.context())
        renewed = certificates.server()
        assert renewed != first
        assert await shown_serial(port, certificates.context()) == renewed


@LISTENERS
async def test_files_that_do_not_fit_leave_the_former_certificate_in_use(
    listener, database_url, certificates, tmp_path
):
    async with listener(database_url, certificates) as port:
        first = await shown_serial(port, certificates.context())
        (certificates.folder / "server.key").write_bytes((certificates.folder / "ca.key").read_bytes())
        assert await shown_serial(port, certificates.context()) == first
        # No handshake waits for a file that stands there instead.
        for put in (lambda path: path.write_bytes(b"\0" * 5000), os.mkfifo):
            (certificates.folder / "server.pem").unlink()
            put(certificates.folder / "server.pem")
            assert await shown_serial(port, certificates.context()) == first
        (certificates.folder / "server.pem").unlink()
        assert await shown_serial(port, certificates.context()) == first
        renewed = certificates.server()
        assert await shown_serial(port, certificates.context()) == renewed


@LISTENERS
async def test_files_that_hang_leave_the_former_certificate_in_use(listener, database_url, certificates, monkeypatch):
    mended, waiting = threading.Event(), threading.Event()
    stat = Path.stat

    def hang(path: Path, **options: bool) -> os.stat_result:
        if path.parent == certificates.folder:
            waiting.set()
            mended.wait()
        return stat(path, **options)

    async with listener(database_url, certificates) as port:
        context = certificates.context()
        first = await shown_serial(port, context)
        renewed = certificates.server()
        with monkeypatch.context() as share:
            share.setattr(Path, "stat", hang)
            async with asyncio.timeout(60):
                for _ in range(3):
                    assert await shown_serial(port, context) == first
            assert waiting.is_set()
            mended.set()

        async def shows_the_renewed() -> bool:
            return bool(await shown_serial(port, context) == renewed)

        await eventually(shows_the_renewed)


async def test_a_stream_of_grpc_outlives_the_certificate_that_it_began_with(database_url, certificates):
    async with grpc_port(database_url, certificates) as port, channel_to(port, certificates) as old:
        stub = NotificationServiceStub(old)
        stream = aiter(stub.Subscribe(SubscribeRequest(model_ids=[7])))
        await anext(stream)
        renewed = certificates.server()
        assert await shown_serial(port, certificates.context()) == renewed
        async with channel_to(port, certificates) as new:
            request = PublishTestNotificationRequest(model_id=7, status=ThumbnailStatus.THUMBNAIL_STATUS_READY)
            await NotificationServiceStub(new).PublishTestNotification(request)
        async for message in stream:
            if message.notifications:
                assert message.notifications[0].model_id == 7
                return
        pytest.fail("the stream ended")


async def test_a_stream_of_a_page_outlives_the_certificate_that_it_began_with(database_url, certificates):
    connector = aiohttp.TCPConnector(ssl=certificates.context())
    async with (
        http_port(database_url, certificates) as port,
        aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector) as http,
        http.get("/api/notifications?modelId=7") as stream,
    ):
        assert stream.status == 200
        renewed = certificates.server()
        assert await shown_serial(port, certificates.context()) == renewed
        async with http.post("/api/test/thumbnail-complete/7", json={"status": "Ready"}) as answer:
            assert answer.status == 200
        async for line in stream.content:
            if line.startswith(b"data:") and json.loads(line[5:]).get("modelId") == 7:
                break
        else:
            pytest.fail("the stream ended")


@LISTENERS
async def test_nothing_older_than_tls_1_2_is_spoken(listener, database_url, certificates):
    async with listener(database_url, certificates) as port:
        assert await answers_hello_of(port, b"\3\3")
        assert not await answers_hello_of(port, b"\3\2")
