"""The table of roles, walked: each role and a caller without a key try every RPC, every route and every hub."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.service.keys import bearer, keyed
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.access.table import roles_of_routes
from thumbq_gateway.transcoding.routes import routes_of
from thumbq_runtime.access.roles import KEY_ROLES, RPCS, Role

SERVICES = [
    service
    for module in (queue_pb2, notification_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
CALLERS = (*KEY_ROLES, Role.NOBODY)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in (*SERVICES, *health_pb2.DESCRIPTOR.services_by_name.values())
    for method in service.methods
}
PATIENCE = 60.0  # seconds for an answer
GLANCE = 1.0  # seconds after which a stream that has not ended counts as admitted, where it should be


@pytest.fixture
async def queue(database_url: str, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(database_url, model_root=tmp_path) as queue:
        yield queue


async def outcome(channel: grpc.aio.Channel, rpc: str, patience: float) -> str:
    """What becomes of an empty request: the reason of a refusal, or "admitted"."""
    try:
        await answer(channel, rpc, patience)
    except grpc.aio.AioRpcError as error:
        refusals = {grpc.StatusCode.UNAUTHENTICATED: "no key", grpc.StatusCode.PERMISSION_DENIED: "another role"}
        return refusals.get(error.code(), "admitted")
    return "admitted"


async def answer(channel: grpc.aio.Channel, rpc: str, patience: float) -> None:
    method: Any
    if not is_stream(rpc):
        method = channel.unary_unary(rpc)
        await method(b"", timeout=patience)
    elif rpc in METHODS and not METHODS[rpc].client_streaming:
        method = channel.unary_stream(rpc)
        await method(b"", timeout=patience).read()
    else:
        # Nothing is sent: a refusal that comes while a message is being written is INTERNAL at the client.
        method = channel.stream_stream(rpc)
        await method(timeout=patience).read()


def is_stream(rpc: str) -> bool:
    method = METHODS.get(rpc)
    return "Reflection" in rpc if method is None else method.client_streaming or method.server_streaming


def expected(caller: Role, is_admitted: bool) -> str:
    if is_admitted:
        return "admitted"
    return "no key" if caller is Role.NOBODY else "another role"


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_rpc(caller: Role, queue: Guarded) -> None:
    rows = {f"/{service}/{method}": roles for service, methods in RPCS.items() for method, roles in methods.items()}
    wanted = {rpc: expected(caller, caller in roles) for rpc, roles in rows.items()}
    async with (
        keyed(queue.server, queue.keys.get(caller, "none")) as known,
        grpc.aio.insecure_channel(queue.server) as unknown,
    ):
        channel = unknown if caller is Role.NOBODY else known

        async def tried(rpc: str) -> str:
            return await outcome(channel, rpc, GLANCE if wanted[rpc] == "admitted" and is_stream(rpc) else PATIENCE)

        got = dict(zip(rows, await asyncio.gather(*map(tried, rows)), strict=True))
    assert got == wanted


async def shown_by(caller: Role, queue: Guarded) -> str:
    """The key of a caller, or its ticket."""
    if caller is not Role.TICKET:
        return queue.keys[caller]
    headers = bearer(queue.keys[Role.VIEWER])
    async with queue.http.post("/api/tickets", json={"allModels": True}, headers=headers) as response:
        return str((await response.json())["ticket"])


@pytest.mark.parametrize("caller", [*CALLERS, Role.TICKET])
async def test_every_route(caller: Role, queue: Guarded) -> None:
    rows = roles_of_routes(routes_of(SERVICES))
    wanted = {route: expected(caller, caller in roles) for route, roles in rows.items()}
    headers = {} if caller is Role.NOBODY else bearer(await shown_by(caller, queue))
    got = {}
    for method, path in rows:
        address = re.sub(r"\{[^}]*\}", "1", path)
        async with queue.http.request("GET" if method == "*" else method, address, headers=headers) as response:
            got[method, path] = {401: "no key", 403: "another role"}.get(response.status, "admitted")
    assert got == wanted
