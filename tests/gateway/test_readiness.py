"""/readyz repeats what the server says of itself, and an unexpected error of the server shows only its reference."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq.v1 import queue_pb2_grpc
from thumbq_server.rpc.errors import status_of_any

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health_pb2_grpc.HealthServicer):
    """The health of a server, as its protocol has it."""

    def __init__(self, statuses: dict[str, int], reason: str = "") -> None:
        self.statuses = statuses
        self.reason = reason

    async def Check(self, request, context):  # noqa: N802
        if request.service not in self.statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        if self.reason:
            context.set_trailing_metadata([("thumbq-reason", self.reason)])
        return health_pb2.HealthCheckResponse(status=self.statuses[request.service])


class BrokenQueue(queue_pb2_grpc.QueueServiceServicer):
    """A queue in which something unexpected happens."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = code
        self.details = details

    async def ListJobs(self, _request, context):  # noqa: N802
        await context.abort(self.code, self.details)


@asynccontextmanager
async def gateway_of(health: Health | None = None, queue: BrokenQueue | None = None) -> AsyncIterator[Client]:
    """Run a gateway before a server that has only these services."""
    server = grpc.aio.server()
    if health:
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if queue:
        queue_pb2_grpc.add_QueueServiceServicer_to_server(queue, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with running_gateway(f"127.0.0.1:{port}") as http:
            yield Client(http)
    finally:
        await server.stop(0)


async def test_it_is_ready_when_the_server_is_ready(client: Client) -> None:
    assert (await client.get("/readyz")).status == 200


@pytest.mark.parametrize("statuses", [{"thumbq.ready": SERVING, "": NOT_SERVING}, {"": SERVING}])
async def test_readiness_counts_and_an_older_server_has_only_its_health(statuses: dict[str, int]) -> None:
    async with gateway_of(Health(statuses)) as client:
        assert (await client.get("/readyz")).status == 200


async def test_the_servers_reason_is_shown() -> None:
    async with gateway_of(Health({"thumbq.ready": NOT_SERVING, "": SERVING}, "the database is read-only")) as client:
        answer = await client.get("/readyz")
        sentence = "The queue's server is not ready: the database is read-only."
        assert (answer.status, answer.json["message"]) == (503, sentence)
        assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL])
async def test_an_unexpected_error_of_the_server_is_logged_and_told_by_a_reference(
    code: grpc.StatusCode, capsys: pytest.CaptureFixture[str]
) -> None:
    async with gateway_of(queue=BrokenQueue(code, "asyncpg.DataError: secret")) as client:
        answer = await client.get("/api/thumbnail-jobs")
        assert answer.status == 500
        sentence, _, reference = answer.json["message"].rstrip(".").rpartition(" ")
        assert sentence == "Internal error. Its reference in the log is"
        log = capsys.readouterr().out
        assert "asyncpg.DataError: secret" in log
        assert f"reference={reference}" in log


async def test_the_servers_own_reference_is_passed_on() -> None:
    with capture_logs() as lines:
        broken = BrokenQueue(*status_of_any("ListJobs", ValueError("secret")))
    [line] = lines
    async with gateway_of(queue=broken) as client:
        answer = await client.get("/api/thumbnail-jobs")
        assert answer.json["message"] == f"Internal error. Its reference in the log is {line['reference']}."
