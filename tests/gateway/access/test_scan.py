"""A scan by a stranger: all that is served, with all that is no key and by every side road. Nothing answers it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.duration_pb2 import Duration
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from tests.gateway.access.scan import BELIEVE_ME, OUT_OF_THE_FOLDER, Scan, detours, example, worthless
from tests.gateway.access.test_keys import Guarded, guarded
from tests.gateway.access.test_roles import SERVICES
from tests.support.postgres.fresh_databases import FreshDatabases
from tests.support.service.keys import GATEWAY_SECRET, bearer, keyed, make_key, revoke
from tests.support.waiting import eventually
from thumbq_gateway.access import callers, unkeyed
from thumbq_gateway.access.table import roles_of_routes
from thumbq_gateway.transcoding.routes import routes_of
from thumbq_runtime.access.roles import HUBS, RPCS, Role, roles_of_method

ROWS = {row: roles for row, roles in roles_of_routes(routes_of(SERVICES)).items() if row[0] != "*"}
CLOSED = [row for row, roles in ROWS.items() if Role.NOBODY not in roles]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")
REFUSALS = {400, 401, 403, 404, 405}
NAMES_OF_NOTHING = [
    "/thumbq.v1.AdminService/listkeys",
    "//thumbq.v1.AdminService/ListKeys",
    "/thumbq.v1.AdminService/ListKeys/",
    "/thumbq.v1.QueueService/../AdminService/ListKeys",
    "/grpc.health.v1.Health/../../thumbq.v1.AdminService/ListKeys",
]
PATIENCE = 60.0


@pytest.fixture(scope="module")
async def scan(fresh_databases: FreshDatabases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scan]:
    address = await fresh_databases.take()
    roots = dict.fromkeys(("thumbnail_root", "model_root"), tmp_path_factory.mktemp("files"))
    unlimited = {"rate_of_reads": 0.0, "rate_of_enqueues": 0.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callers, "_TIMEOUT", PATIENCE)  # a busy machine is no outage
        patch.setattr(unkeyed, "_DEADLINE", PATIENCE)
        async with guarded(address, **roots, **unlimited) as queue, aiohttp.ClientSession() as http:
            yield await prepared(queue, http)
    await fresh_databases.give_back(address)


async def prepared(queue: Guarded, http: aiohttp.ClientSession) -> Scan:
    """Return a scan with keys that were valid and are no longer."""
    expired = await make_key(queue.admins, "admin", expires_after=Duration(seconds=1))
    revoked = await make_key(queue.admins, "admin")
    await revoke(queue.admins, revoked)
    headers = bearer(queue.keys["admin"])
    async with queue.http.post("/api/tickets", json={"allModels": True}, headers=headers) as answer:
        ticket = (await answer.json())["ticket"]
    found = Scan(queue, http, worthless(queue.keys["admin"], expired, revoked, ticket), [])
    found.secrets = [GATEWAY_SECRET, ticket, *(key[12:] for key in (*queue.keys.values(), expired, revoked))]

    async def both_have_ended() -> bool:
        return {await found.ask("GET", "/metrics", bearer(key)) for key in (expired, revoked)} == {401}

    await eventually(both_have_ended, timeout=PATIENCE)
    return found


async def test_no_route_is_open_to_what_is_no_key(scan: Scan) -> None:
    assert len(CLOSED) > 60
    admin = scan.queue.keys["admin"]
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "A" * 24}
    async with scan.queue.http.get("/openapi.json") as answer:
        described = (await answer.json())["paths"].items()
    served = {(method, example(path)) for method, path in ROWS}
    assert {(method.upper(), example(path)) for path, methods in described for method in methods} <= served
    with scan.in_no_log():
        answers = await scan.ask_all(
            [
                *((row[0], example(row[1]), shown) for row in CLOSED for shown in scan.worthless.values()),
                # the secret of gateways is for the server, and no address takes a key
                *((row[0], example(row[1]), bearer(GATEWAY_SECRET)) for row in CLOSED),
                *((row[0], f"{example(row[1])}?ticket={admin}&access_token={admin}&id={admin}", {}) for row in CLOSED),
                *(("GET", hub, shown | upgrade) for hub in HUBS for shown in scan.worthless.values()),
            ]
        )
    assert [answer for answer in answers if answer[2] != 401] == []
    await scan.left_as_it_was()


async def test_no_side_road_leads_in(scan: Scan) -> None:
    ways = [way for method, path in CLOSED if method == "GET" for way in detours(example(path))]
    methods: list[tuple[str, str, dict[str, str]]] = [
        (method, example(path), {})
        for method in METHODS
        for path in sorted({path for _, path in ROWS})
        if Role.NOBODY not in ROWS.get(("GET" if method == "HEAD" else method, path), ())
    ]
    with scan.in_no_log():
        answers = await scan.ask_all(
            [
                *(("GET", way, {}) for way in ways),
                *(("GET", f"/static/{path}", {}) for path in OUT_OF_THE_FOLDER),
                *methods,
                *((method, example(path), BELIEVE_ME) for method, path in CLOSED),
            ]
        )
    assert [answer for answer in answers if answer[2] not in REFUSALS] == []
    await scan.left_as_it_was()


async def test_a_right_key_helps_no_foreign_page_and_no_foreign_name(scan: Scan) -> None:
    admin = scan.queue.keys["admin"]
    foreign = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}]
    shown = [bearer(admin), {"Cookie": f"thumbq_key={admin}"}]
    with scan.in_no_log():
        answers = await scan.ask_all(
            [
                *(
                    (row[0], example(row[1]), key | page)
                    for row in ROWS
                    for key in shown
                    for page in foreign
                    if row[0] != "GET"
                ),
                *((row[0], example(row[1]), bearer(admin) | {"Host": "evil.example"}) for row in ROWS),
            ]
        )
    assert [answer for answer in answers if answer[2] != 403] == []
    await scan.left_as_it_was()


async def reflected(channel: grpc.aio.Channel) -> dict[str, bool]:
    """Ask the server for its RPCs: the path of each, and whether its client may send more than one message."""
    method: Any = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )

    async def ask(request: ServerReflectionRequest) -> Any:
        call = method(timeout=PATIENCE)
        await call.write(request)
        answer = await call.read()
        await call.done_writing()
        return answer

    services = (await ask(ServerReflectionRequest(list_services=""))).list_services_response.service
    found: dict[str, bool] = {}
    for service in services:
        answer = await ask(ServerReflectionRequest(file_containing_symbol=service.name))
        for text in answer.file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(text)
            found |= {
                f"/{file.package}.{described.name}/{method.name}": method.client_streaming
                for described in file.service
                for method in described.method
            }
    return found


async def code_of(
    channel: grpc.aio.Channel, rpc: str, metadata: tuple[tuple[str, str], ...], many: bool
) -> grpc.StatusCode:
    method: Any = channel.stream_stream(rpc) if many else channel.unary_stream(rpc)
    call = method(metadata=metadata, timeout=PATIENCE) if many else method(b"", metadata=metadata, timeout=PATIENCE)
    code: grpc.StatusCode = await call.code()
    return code


async def test_no_rpc_is_open_to_what_is_no_key(scan: Scan) -> None:
    async with keyed(scan.queue.server, scan.queue.keys["viewer"]) as viewers:
        rpcs = await reflected(viewers)
    assert {
        f"/{service}/{name}" for service, names in RPCS.items() if "thumbq" in service for name in names
    } <= rpcs.keys()
    closed = {rpc: many for rpc, many in rpcs.items() if Role.NOBODY not in (roles_of_method(rpc) or ())}
    # A server slows down who shows wrong keys, and answers those that come too often so.
    refused = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    shown = [
        tuple((name.lower(), text) for name, text in each.items())
        for each in (*scan.worthless.values(), {"thumbq-caller": "prefix=00000000"})
    ]
    with scan.in_no_log():
        async with grpc.aio.insecure_channel(scan.queue.server) as channel:
            tried = [(rpc, metadata, many) for metadata in shown for rpc, many in closed.items()]
            codes = await asyncio.gather(*(code_of(channel, *one) for one in tried))
            lost = await asyncio.gather(*(code_of(channel, name, (), many=False) for name in NAMES_OF_NOTHING))
    assert [(*one, code) for one, code in zip(tried, codes, strict=True) if code not in refused] == []
    assert set(codes[: len(closed)]) == {grpc.StatusCode.UNAUTHENTICATED}  # the first have shown nothing
    assert set(lost) == {grpc.StatusCode.UNIMPLEMENTED}
    await scan.left_as_it_was()
