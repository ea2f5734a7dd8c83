"""A client that is closed, or could not be opened, leaves nobody waiting and no thread behind."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network.ports import free_port
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, enqueue
from thumbq import BlockingClient, Client, Request, Unavailable
from thumbq.connection import UnreadableKey


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "thumbq-client"}


async def test_a_call_that_waits_for_a_server_ends_when_another_thread_closes_the_client():
    before = threads()
    client = BlockingClient(f"127.0.0.1:{free_port()}", timeout=3600)

    def ask() -> None:
        with pytest.raises(Unavailable, match="the client was closed"):
            client.job(1)

    call = asyncio.ensure_future(asyncio.to_thread(ask))

    async def has_ended() -> bool:
        # A call that begins after this opens the client again.
        await asyncio.to_thread(client.close)
        return call.done()

    await eventually(has_ended)
    await call
    assert threads() == before


async def test_calls_of_other_tasks_end_when_the_client_is_closed(server: str):
    (job_id,) = await enqueue(server, 1)
    nowhere = f"127.0.0.1:{free_port()}"
    async with Client(server) as client, Client(nowhere, timeout=3600) as waiting:
        calls = [asyncio.create_task(call) for call in (client.job(job_id, wait=600), waiting.cursor())]
        await client.cursor()  # the calls are under way
    for call in calls:
        with pytest.raises(Unavailable, match="the client was closed"):
            await call


async def test_a_client_may_be_opened_again_on_another_loop(server: str):
    client = Client(server, timeout=20)

    async def enqueue_two(first: int) -> None:
        async with client:
            for model_id in (first, first + 1):
                assert (await client.enqueue(model_id, HASH)).outcome == "Created"

    def program() -> None:
        for first in (1, 11):
            asyncio.run(enqueue_two(first))

    await asyncio.to_thread(program)


async def test_a_client_that_was_closed_before_its_first_job_was_sent_enqueues_again(server: str):
    client = Client(server, timeout=20)
    async with client:
        first = asyncio.create_task(client.enqueue(1, HASH))
        await asyncio.sleep(0)  # the job waits, and nothing has been sent
    with pytest.raises(Unavailable, match="the client was closed"):
        await first
    async with client:
        assert (await client.enqueue(2, HASH)).outcome == "Created"


async def test_a_list_of_jobs_ends_when_the_client_is_closed(server: str):
    before = threads()
    await enqueue(server, 2)

    def program() -> None:
        client = BlockingClient(server)
        jobs = client.jobs()
        assert next(jobs).model_id == 2
        client.close()
        with pytest.raises(Unavailable, match="the client was closed"):
            next(jobs)

    await asyncio.to_thread(program)
    assert threads() == before


async def test_enqueueing_many_ends_when_the_client_is_closed(server: str):
    before = threads()
    client = BlockingClient(server)

    def requests() -> Iterator[Request]:
        yield Request(model_id=1, model_hash=HASH)
        client.close()

    def program() -> None:
        with pytest.raises(Unavailable, match="the client was closed"):
            client.enqueue_many(requests())

    await asyncio.to_thread(program)
    assert threads() == before


def test_a_client_that_cannot_be_opened_leaves_no_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    before = threads()
    monkeypatch.delenv("THUMBQ_API_KEY", raising=False)
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(tmp_path / "no-key"))
    client = BlockingClient("127.0.0.1:1")
    with pytest.raises(UnreadableKey):
        client.job(1)
    assert threads() == before
    client.close()
