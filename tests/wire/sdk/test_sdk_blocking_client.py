"""The client for programs without asyncio against a real server."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.wire.sdk.sdk import PICTURE, working
from tests.wire.sdk.test_sdk_client import DIGEST, complete
from thumbq import BlockingClient, Client, NotFound, Request, Unsuccessful

FORKS = """
import os, signal, sys
from thumbq import BlockingClient

client = BlockingClient(sys.argv[1])
client.cursor()
if sys.argv[2] == "closed":
    client.close()
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        client.cursor()
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(3)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
client.cursor()
"""


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("closed", "0\n"),
        ("connected", "this process was forked while a BlockingClient was connected: close it before the fork\n3\n"),
    ],
)
async def test_a_process_that_forks_closes_its_client_before(server: str, way: str, said: str):
    """gRPC's state does not survive a fork: a call of the child would wait without an end."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, server, way]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ended.stdout == said, ended.stderr


async def test_a_program_without_asyncio_has_the_same_calls(server: str):
    def program() -> None:
        with BlockingClient(server) as client:
            counts: list[int] = []
            answers = client.enqueue_many([Request(model_id=1, model_hash=DIGEST)], progress=counts.append)
            answers.append(client.enqueue(13, DIGEST.hex()))
            assert counts == [1]
            assert client.wait_for(answers[0].job_id, timeout=60).path == PICTURE.path
            with pytest.raises(Unsuccessful):
                client.wait_for(answers[1].job_id, timeout=60)
            assert [job.id for job in client.jobs()] == [answers[1].job_id, answers[0].job_id]
            assert client.retry(answers[0].job_id).id == answers[0].job_id
            client.log_event(answers[0].job_id, "Note")
            assert len(client.job_events(answers[0].job_id)) == 1
            assert client.job(answers[0].job_id, wait=60).ended
            assert client.cancel_model(99) == []
            assert client.thumbnail(99).status == "None"
            assert client.version_thumbnail(99).status == "None"
            client.announce_test(99, "Ready")
            assert client.cursor()
            with pytest.raises(NotFound):
                client.cancel(999)
        assert client.thumbnail(1).model_id == 1  # it connects again
        client.close()

    async with working(server, complete):
        await asyncio.to_thread(program)


async def test_a_blocking_client_reads_what_it_is_given_in_the_thread_that_calls(server: str):
    def program() -> None:
        own = threading.current_thread()
        counts: list[int] = []

        def numbers(last: int) -> Iterator[int]:
            """Be like rows of Django or of sqlite3, which only the thread that asked may read, and without a loop."""
            for number in range(1, last + 1):
                assert threading.current_thread() is own
                with pytest.raises(RuntimeError, match="no running event loop"):
                    asyncio.get_running_loop()
                yield number

        def note(count: int) -> None:
            assert threading.current_thread() is own
            counts.append(count)

        with BlockingClient(server) as client:
            requests = (Request(model_id=number, model_hash=DIGEST) for number in numbers(10_002))
            answers = client.enqueue_many(requests, progress=note)
            assert counts == [10_000, 10_002]
            assert len({answer.job_id for answer in answers}) == 10_002
            assert [picture.model_id for picture in client.thumbnails(numbers(3))] == [1, 2, 3]
            assert client.create_ticket(numbers(3)).startswith("tt1.")
            assert client.enqueue_many(iter(())) == []

    await asyncio.to_thread(program)


def test_both_clients_have_the_same_methods():
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(BlockingClient) - {"close"} == methods(Client)
