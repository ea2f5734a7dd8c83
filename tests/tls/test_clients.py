"""Clients of a server that asks for certificates: the SDK, the command line, the gateway, and the render worker."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.operator.test_cli_interventions import thumbq
from thumbq import (
    BlockingClient,
    Client,
    Job,
    JobStatus,
    NewJob,
    Notification,
    Producer,
    Subscriber,
    Thumbnail,
    Unavailable,
    Worker,
)
from thumbq.render.jobs.events import JobEvents
from thumbq.tls import Tls
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings

HASH = "ab" * 32


@pytest.fixture
async def server(database_url, certificates: Certificates) -> AsyncIterator[str]:
    """The address of a server that takes only clients with a certificate."""
    async with running_server(database_url, **certificates.mutual) as address:
        yield f"grpcs://{address}"


@pytest.fixture
def as_client(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Tls:
    """What a client has in its environment."""
    path = certificates.client("render-1")
    tls = Tls(certificates.ca, path, path.with_suffix(".key"))
    for name, value in (("CA", tls.ca), ("CERT", tls.cert), ("KEY", tls.key)):
        monkeypatch.setenv(f"THUMBQ_{name}", str(value))
    return tls


async def picture(_job: Job) -> Thumbnail:
    return Thumbnail("/thumbnails/7.webp", 100, 1, 1)


async def test_every_part_of_the_sdk_shows_its_certificate(server, as_client):
    async with Subscriber(server) as subscriber, Client(server) as client, Producer(server) as producer:
        answer = await client.enqueue(model_id=7, model_hash=HASH)
        async with Worker(server) as worker, asyncio.TaskGroup() as group:
            group.create_task(worker.run(picture, handle_signals=False))
            job = await producer.get(answer.job_id, wait=60)
            assert job.status == JobStatus.JOB_STATUS_COMPLETED
            worker.stop()
        assert isinstance(await anext(aiter(subscriber)), Notification)
    await asyncio.to_thread(read_blocking, server, answer.job_id)


def read_blocking(server: str, job_id: int) -> None:
    with BlockingClient(server) as client:
        assert client.job(job_id).status == "Completed"


async def test_an_enqueue_says_why_tls_fails_as_other_calls_do(server):
    async with Client(server, timeout=5) as client:
        for call in (client.cursor(), client.enqueue(model_id=7, model_hash=HASH)):
            with pytest.raises(Unavailable, match=f"{server}: its certificate comes from an authority") as away:
                await call
            assert away.value.reason.endswith("(THUMBQ_CA)")


async def test_files_may_be_given_in_the_program(server, as_client, monkeypatch):
    for name in ("CA", "CERT", "KEY"):
        monkeypatch.delenv(f"THUMBQ_{name}")
    async with Client(server, tls=as_client) as client, Subscriber(server, tls=as_client) as subscriber:
        job_id = (await client.enqueue(model_id=7, model_hash=HASH)).job_id
        async with Worker(server, tls=as_client) as worker, asyncio.TaskGroup() as group:
            group.create_task(worker.run(picture, handle_signals=False))
            assert isinstance(await anext(aiter(subscriber)), Notification)
            async with Producer(server, tls=as_client) as producer:
                assert (await producer.get(job_id, wait=60)).status == JobStatus.JOB_STATUS_COMPLETED
            worker.stop()


async def test_commands_take_the_files_as_options(server, as_client, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    for name in ("CA", "CERT", "KEY"):
        monkeypatch.delenv(f"THUMBQ_{name}")
    options = ["--ca", str(as_client.ca), "--cert", str(as_client.cert), "--key", str(as_client.key)]

    async def says(words: str, command: str, *given: str) -> bool:
        _, output = await thumbq(server, command, *given)
        return words in " ".join(output.split())

    # A command waits for an answer for 5 s, which a busy machine may take.
    for words, command, given in (
        (f"The server at {server} is ready.", "health", options),
        (f"ok server {server} is ready", "doctor", options),
        ("ok certificate valid until", "doctor", options),
        ("it may take only clients with a certificate (THUMBQ_CERT, THUMBQ_KEY)", "stats", options[:2]),
    ):
        await eventually(partial(says, words, command, *given), timeout=120)


async def test_the_gateway_shows_its_certificate_to_a_remote_server(server, as_client, certificates):
    chosen = {"ca": as_client.ca, "cert": as_client.cert, "key": as_client.key}
    settings = Settings(http_port=0, server=server, queue_watch_linger=0, **chosen, **certificates.mutual)
    connector = aiohttp.TCPConnector(ssl=certificates.context())
    async with (
        running(settings, asyncio.Event()) as port,
        aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector) as http,
    ):

        async def is_ready() -> bool:
            return (await http.get("/readyz")).status == 200

        await eventually(is_ready, timeout=60)
        async with http.post("/api/thumbnail-jobs", json={"modelId": 7, "modelHash": HASH}) as answer:
            assert answer.status in {200, 201}


@pytest.mark.parametrize("variable", ["THUMBQ_API_KEY_FILE", "THUMBQ_KEY", "THUMBQ_CERT", "THUMBQ_CA"])
async def test_a_worker_waits_for_a_file_that_is_being_replaced(
    database_url, certificates, as_client, monkeypatch, tmp_path, unused_tcp_port, caplog, variable
):
    (tmp_path / "worker.key").write_text("tq_key")
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(tmp_path / "worker.key"))
    file, server = Path(os.environ[variable]), f"grpcs://127.0.0.1:{unused_tcp_port}"
    content = file.read_bytes()

    async def completed(model_id: int) -> None:
        async with Producer(server, timeout=120) as producer:
            (job,) = await producer.enqueue([NewJob(model_id=model_id, model_hash=HASH)])
            assert (await producer.get(job.job_id, wait=60)).status == JobStatus.JOB_STATUS_COMPLETED

    async def names_the_file() -> bool:
        away = [record.getMessage() for record in caplog.records if "is away" in record.getMessage()]
        return any(variable in sentence for sentence in away)

    caplog.set_level(logging.WARNING, "thumbq")
    async with Worker(server) as worker, asyncio.TaskGroup() as group:
        async with running_server(database_url, grpc_port=unused_tcp_port, **certificates.mutual):
            group.create_task(worker.run(picture, handle_signals=False))
            await completed(1)
            file.unlink()
        await eventually(names_the_file)
        file.write_bytes(content)
        async with running_server(database_url, grpc_port=unused_tcp_port, **certificates.mutual):
            await completed(2)
            worker.stop()


async def test_what_stays_open_shows_renewed_certificates_when_it_connects_again(
    database_url, certificates, as_client, tmp_path, unused_tcp_port
):
    server = f"grpcs://127.0.0.1:{unused_tcp_port}"
    events = JobEvents(server)
    async with (
        Client(server, timeout=60) as client,
        Producer(server, timeout=60) as producer,
        Subscriber(server, after="earliest") as subscriber,
        asyncio.timeout(120),
    ):
        news = aiter(subscriber)

        async def all_connect(model_id: int) -> None:
            (job,) = await producer.enqueue([NewJob(model_id=model_id, model_hash=HASH)])
            assert (await client.enqueue(model_id=model_id, model_hash=HASH)).job_id == job.job_id
            await events.remark(job.job_id, ["A texture is missing."])
            assert [event.message for event in await client.job_events(job.job_id)] == ["A texture is missing."]
            heard = await anext(news)
            assert isinstance(heard, Notification)
            assert heard.model_id == model_id

        async with running_server(database_url, grpc_port=unused_tcp_port, **certificates.mutual):
            await all_connect(1)
        # The server that comes back trusts another authority, as when all certificates have been made anew.
        others = Certificates(tmp_path / "others")
        path = others.client("render-1")
        as_client.ca.write_bytes(others.ca.read_bytes())
        as_client.cert.write_bytes(path.read_bytes())
        as_client.key.write_bytes(path.with_suffix(".key").read_bytes())
        async with running_server(database_url, grpc_port=unused_tcp_port, **others.mutual):
            await all_connect(2)
