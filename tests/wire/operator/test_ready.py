"""grpc.health.v1 for "thumbq.ready": SERVING only while work can be done, otherwise with the reason."""

from typing import Any

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.waiting import eventually
from thumbq_server.rpc.serving.health import READY, REASON
from thumbq_server.storage.postgres.address import parse_address


async def test_a_server_is_ready_only_while_the_database_takes_writes(channel, postgres, database_url):
    health: Any = health_pb2_grpc.HealthStub(channel)

    async def ready() -> tuple[bool, str]:
        call = health.Check(health_pb2.HealthCheckRequest(service=READY))
        answer = await call
        trailers = dict(await call.trailing_metadata() or ())
        return answer.status == health_pb2.HealthCheckResponse.SERVING, str(trailers.get(REASON, ""))

    async def is_now(*expected) -> bool:
        return await ready() == expected

    assert await ready() == (True, "")
    name = parse_address(database_url).database
    server = await asyncpg.connect(postgres)
    await server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await eventually(lambda: is_now(False, "the database is read-only"), timeout=30)
    everything = await health.Check(health_pb2.HealthCheckRequest())
    assert everything.status == health_pb2.HealthCheckResponse.SERVING
    await server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await eventually(lambda: is_now(True, ""), timeout=30)
    await server.close()


async def test_an_unknown_service_is_not_found(channel):
    health: Any = health_pb2_grpc.HealthStub(channel)
    call = health.Check(health_pb2.HealthCheckRequest(service="other"))
    assert await call.code() is grpc.StatusCode.NOT_FOUND
