"""Requests that come together leave together, and each caller has what it would have alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.network.http_client import Answer, Client, digest
from tests.support.postgres.invariants import assert_sound
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.waiting import eventually
from thumbq.v1.queue_pb2 import CallTogetherRequest, CallTogetherResponse, DequeueJobRequest, GetJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceServicer, add_QueueServiceServicer_to_server
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.transcoding.together import Together
from thumbq_server.storage.postgres.database import Database

JOBS = "/api/thumbnail-jobs"
DEQUEUE = f"{JOBS}/dequeue"
RESULT = {"thumbnailPath": "/var/lib/thumbs/a.png", "sizeBytes": 45678, "width": 512, "height": 512}
MANY = 64
AWAY = "The service is unavailable for the moment. Try again."


@asynccontextmanager
async def locked(database_url: str, table: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold up every statement on a table."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


async def all_at_once(requests: Iterable[Awaitable[Answer]]) -> list[Answer]:
    return await asyncio.gather(*requests)


def enqueued(client: Client, model_id: int, **fields: object) -> Awaitable[Answer]:
    return client.post(JOBS, {"modelId": model_id, "modelHash": digest(model_id), **fields})


async def messages(client: Client, kind: str) -> tuple[int, int]:
    """Return how many messages of this kind have left, and how many calls were in them."""
    figures = dict(line.rsplit(" ", 1) for line in (await client.get("/metrics")).text.splitlines() if line[0] != "#")
    count, calls = (
        figures.get(f'thumbq_gateway_calls_together_{part}{{kind="{kind}"}}', "0") for part in ("count", "sum")
    )
    return int(float(count)), int(float(calls))


async def test_sixty_four_at_once_of_each_kind_have_their_own_answers_in_few_messages(client: Client) -> None:
    models = range(1, MANY + 1)
    ids = [answer.json["jobId"] for answer in await all_at_once(enqueued(client, model_id) for model_id in models)]
    assert len(set(ids)) == MANY

    claimed = await all_at_once(client.post(DEQUEUE, {"workerId": f"w{number}"}) for number in models)
    jobs = {answer.json["id"]: answer.json["modelId"] for answer in claimed}
    assert jobs == dict(zip(ids, models, strict=True))
    for number, answer in enumerate(claimed, 1):
        assert (await client.job(answer.json["id"]))["workerId"] == f"w{number}"

    half = MANY // 2
    completed = await all_at_once(client.post(f"{JOBS}/{job_id}/complete", RESULT) for job_id in ids[:half])
    failed = await all_at_once(client.post(f"{JOBS}/{job_id}/fail", {"errorMessage": "no"}) for job_id in ids[half:])
    assert [answer.json["modelId"] for answer in completed + failed] == list(models)
    assert {answer.json["status"] for answer in completed} == {"Ready"}
    assert {answer.json["status"] for answer in failed} == {"Failed"}

    for kind, calls in (("enqueue_job", MANY), ("dequeue_job", MANY), ("complete_job", half), ("fail_job", half)):
        sent, carried = await messages(client, kind)
        assert carried == calls
        assert sent < calls / 2, kind


async def test_a_bad_request_among_good_ones_harms_only_itself(client: Client) -> None:
    held = [await client.enqueue(model_id) for model_id in (1, 2)]
    while (await client.post(DEQUEUE, {"workerId": "w"})).status == 200:
        pass
    expected = [
        (enqueued(client, 3), 200, ""),
        (enqueued(client, 0), 400, "modelId must be a positive integer"),
        (client.post(JOBS, {"modelId": 4, "modelHash": "ab"}), 400, "modelHash must be a SHA-256"),
        (enqueued(client, 5, priority=11), 400, "priority must be between 0 and 9"),
        (enqueued(client, 6), 200, ""),
        (client.post(f"{JOBS}/{held[0]}/complete", RESULT), 200, ""),
        (client.post(f"{JOBS}/999/complete", RESULT), 400, "Thumbnail job with ID 999 was not found."),
        (client.post(f"{JOBS}/{held[1]}/complete", RESULT | {"width": 0}), 400, "width and height must be 1 or more"),
        (client.post(f"{JOBS}/{held[1]}/complete", RESULT | {"width": "x"}), 400, "width must be a whole number."),
        (client.post(f"{JOBS}/{held[1]}/fail", {"errorMessage": " "}), 400, "Error message cannot be null or empty."),
        (client.post(f"{JOBS}/998/fail", {"errorMessage": "no"}), 400, "Thumbnail job with ID 998 was not found."),
        (client.post(f"{JOBS}/{held[1]}/fail", {"errorMessage": "no"}), 200, ""),
        (client.post(DEQUEUE, {}), 400, "WorkerId is required"),
        (client.post(DEQUEUE, {"workerId": "w" * 101}), 400, "WorkerId"),
    ]
    answers = await all_at_once(request for request, _, _ in expected)
    for answer, (_, status, text) in zip(answers, expected, strict=True):
        assert (answer.status, text in answer.text) == (status, True), answer.text


async def test_what_one_connection_sends_at_once_is_answered_in_its_order(client: Client) -> None:
    _, port = str(client.http._base_url).rstrip("/").rsplit(":", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    for path, body in (
        (JOBS, json.dumps({"modelId": 1, "modelHash": digest(1)})),
        (DEQUEUE, '{"workerId": "w"}'),
        (DEQUEUE, '{"workerId": "w"}'),
    ):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    seen = [await reader.readuntil(b"\r\n\r\n")]
    assert b"jobId" in await reader.readuntil(b"}")
    seen.append(await reader.readuntil(b"\r\n\r\n"))
    assert b"leaseToken" in await reader.readuntil(b"}")
    seen.append(await reader.readuntil(b"\r\n\r\n"))
    assert [head[9:12] for head in seen] == [b"200", b"200", b"204"]
    writer.close()


async def test_two_gateways_hand_out_every_job_once(client: Client, server: str, database_url: str) -> None:
    await client.enqueue_many(range(1, 2 * MANY + 1))
    async with running_gateway(server) as http:
        both = (client, Client(http))
        answers = await all_at_once(
            gateway.post(DEQUEUE, {"workerId": f"w{number}"}) for number in range(MANY) for gateway in both
        )
        ids = [answer.json["id"] for answer in answers]
        assert sorted(ids) == list(range(1, 2 * MANY + 1))
        ended = await all_at_once(
            gateway.post(f"{JOBS}/{job_id}/complete", RESULT) for job_id, gateway in zip(ids, both * MANY, strict=True)
        )
        assert {answer.status for answer in ended} == {200}
    async with Database(database_url) as database:
        await assert_sound(database)


async def test_a_call_that_is_held_up_holds_up_no_call_of_another_kind_and_no_later_message(
    client: Client, database_url: str
) -> None:
    job_ids = [await client.enqueue(model_id) for model_id in (1, 2)]
    await client.dequeue()
    await client.dequeue()
    polling = asyncio.create_task(client.post(DEQUEUE, {"workerId": "poll", "wait": "20s"}))
    async with locked(database_url, "attempts"):
        first = asyncio.create_task(client.post(f"{JOBS}/{job_ids[0]}/complete", RESULT))

        async def has_left(count: int) -> bool:
            return (await messages(client, "complete_job"))[0] == count

        await eventually(lambda: has_left(1))
        second = asyncio.create_task(client.post(f"{JOBS}/{job_ids[1]}/complete", RESULT))
        assert (await client.post(DEQUEUE, {"workerId": "w"})).status == 204
        assert (await enqueued(client, 3)).status == 200
        assert (await polling).json["modelId"] == 3
        await eventually(lambda: has_left(2))
        assert not first.done()
    assert [(await request).status for request in (first, second)] == [200, 200]


async def test_a_call_that_would_fill_a_message_leaves_alone(client: Client) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    trace = "x" * 100_000
    answers = await all_at_once(
        [client.post(f"{JOBS}/{job_id}/fail", {"errorMessage": trace}), enqueued(client, 1, modelHash="a" * 100_000)]
    )
    assert [answer.status for answer in answers] == [200, 400]
    assert (await client.job(job_id))["errorMessage"].startswith("x" * 900)
    assert (await messages(client, "fail_job"), await messages(client, "enqueue_job")) == ((0, 0), (1, 1))


async def test_each_caller_gets_503_while_the_server_is_away_and_its_answer_afterwards(
    restartable: RestartableServer,
) -> None:
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        await client.enqueue_many(range(1, MANY + 1))
        await restartable.stop()
        answers = await all_at_once(client.post(DEQUEUE, {"workerId": f"w{number}"}) for number in range(MANY))
        assert {(answer.status, answer.text, answer.headers["Retry-After"]) for answer in answers} == {(503, AWAY, "1")}
        await restartable.start()

        async def is_back() -> bool:
            return (await client.get("/readyz")).status == 200

        await eventually(is_back)
        answers = await all_at_once(client.post(DEQUEUE, {"workerId": f"w{number}"}) for number in range(MANY))
        assert sorted(answer.json["id"] for answer in answers) == list(range(1, MANY + 1))


class Confused(QueueServiceServicer):
    """A server that answers no call of a message."""

    async def CallTogether(self, request: CallTogetherRequest, context: object) -> CallTogetherResponse:  # noqa: N802  # the name is the protocol's
        return CallTogetherResponse()


async def test_answers_that_do_not_fit_the_calls_leave_no_caller_waiting() -> None:
    server = grpc.aio.server()
    add_QueueServiceServicer_to_server(Confused(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with running_gateway(f"127.0.0.1:{port}") as http:
        client = Client(http)
        with capture_logs() as logs:
            answers = await all_at_once(client.post(DEQUEUE, {"workerId": "w"}) for _ in range(5))
        references = {entry["reference"] for entry in logs if entry["event"] == "request.broken"}
        assert {(answer.status, answer.text.rpartition(" ")[2].rstrip(".") in references) for answer in answers} == {
            (500, True)
        }
    await server.stop(None)


async def test_an_error_that_nobody_expected_has_the_reference_of_the_servers_log(
    own_client: Client, database_url: str
) -> None:
    async with Database(database_url) as database:
        await database.fetch("ALTER TABLE attempts RENAME TO hidden")
        with capture_logs() as lines:
            answer = await own_client.post(f"{JOBS}/1/complete", RESULT)
        await database.fetch("ALTER TABLE hidden RENAME TO attempts")
    [reference] = [line["reference"] for line in lines if "reference" in line]
    assert (answer.status, answer.text) == (500, f"Internal error. Its reference in the log is {reference}.")


@pytest.mark.parametrize("wait", [0, "0s", None])
async def test_a_dequeue_with_no_time_to_wait_is_one_without_wait(client: Client, wait: object) -> None:
    assert (await client.post(DEQUEUE, {"workerId": "w", "wait": wait})).status == 204
    assert await messages(client, "dequeue_job") == (1, 1)


async def test_a_message_that_cannot_be_made_keeps_no_caller_waiting() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel, asyncio.timeout(30):
        together = Together(channel, Metrics(None).requests)
        dequeues = together.kind_of(DequeueJobRequest.DESCRIPTOR)
        assert dequeues
        with pytest.raises(Refusal, match="Internal error"):
            await dequeues(GetJobRequest())
        await together.settle()
