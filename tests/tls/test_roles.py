"""A client's certificate is its key: its name has a role, over gRPC and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from tests.support.network.certificates import Certificates
from tests.support.service.server import running_server, status_of
from thumbq.v1.admin_pb2 import GetStatsRequest, PauseQueueRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.queue_pb2 import DequeueJobRequest, EnqueueJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings
from thumbq_runtime.access.roles import Role
from thumbq_runtime.tls.roles import ClientRoles

ROLES = "render-*=worker,ci=producer,ada=admin"
SECRET = "a secret of gateways, long enough for it"


@asynccontextmanager
async def client_of(address: str, certificates: Certificates, name: str) -> AsyncIterator[grpc.aio.Channel]:
    path = certificates.client(name)
    pair = path.with_suffix(".key").read_bytes(), path.read_bytes()
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        yield channel


async def test_the_name_in_a_certificate_is_a_role_over_grpc(database_url, certificates):
    settings = {**certificates.mutual, "tls_client_roles": ROLES}
    async with running_server(database_url, **settings) as address:
        async with client_of(address, certificates, "ci") as ci:
            job = EnqueueJobRequest(model_id=7, model_hash="ab" * 32)
            await QueueServiceStub(ci).EnqueueJob(job)
            code, told = await status_of(QueueServiceStub(ci).DequeueJob(DequeueJobRequest(worker_id="ci")))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert told == "A certificate of the role producer may not do this."
        async with client_of(address, certificates, "render-1") as worker:
            dequeued = await QueueServiceStub(worker).DequeueJob(DequeueJobRequest(worker_id="render-1"))
            assert dequeued.job.model_id == 7
            code, _ = await status_of(AdminServiceStub(worker).PauseQueue(PauseQueueRequest()))
            assert code is grpc.StatusCode.PERMISSION_DENIED
        async with client_of(address, certificates, "ada") as admin:
            await AdminServiceStub(admin).PauseQueue(PauseQueueRequest())
        async with client_of(address, certificates, "stranger") as stranger:
            code, _ = await status_of(AdminServiceStub(stranger).GetStats(GetStatsRequest()))
            assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_name_in_a_certificate_is_a_role_over_http(database_url, certificates):
    async with running_server(database_url, gateway_secret=SECRET) as address:
        settings = Settings(
            http_port=0,
            server=address,
            gateway_secret=SECRET,
            queue_watch_linger=0,
            tls_client_roles=ROLES,
            **certificates.mutual,
        )
        async with running(settings, asyncio.Event()) as port:

            async def status(name: str | None, method: str, path: str, **body: object) -> int:
                connector = aiohttp.TCPConnector(ssl=certificates.context(name))
                async with (
                    aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector) as http,
                    http.request(method, path, json=body or None) as answer,
                ):
                    return answer.status

            enqueue = {"modelId": 7, "modelHash": "ab" * 32}
            assert await status("ci", "POST", "/api/thumbnail-jobs", **enqueue) in {200, 201}
            assert await status("render-1", "POST", "/api/thumbnail-jobs", **enqueue) == 403
            assert await status("render-1", "GET", "/api/admin/stats") == 200
            assert await status("stranger", "GET", "/api/admin/stats") == 401
            assert await status(None, "GET", "/api/admin/stats") == 401
            assert await status(None, "GET", "/healthz") == 200


def test_the_first_pattern_that_fits_counts():
    roles = ClientRoles.parsed("render-9=viewer, render-*=worker ,*=producer")
    assert [roles.role_of(name) for name in ("render-9", "render-1", "ci", "", None)] == [
        Role.VIEWER,
        Role.WORKER,
        Role.PRODUCER,
        None,
        None,
    ]
    assert ClientRoles.parsed("").role_of("ci") is None


@pytest.mark.parametrize("text", ["render-*", "=worker", "a=gateway", "a=nobody", "a=boss"])
def test_a_role_that_no_certificate_can_have_is_refused(text, certificates):
    with pytest.raises(ValueError, match="THUMBQ_TLS_CLIENT_ROLES has"):
        Settings(tls_client_roles=text, **certificates.mutual)
    with pytest.raises(ValueError, match="needs THUMBQ_TLS_CLIENT_CA_FILE"):
        Settings(tls_client_roles="a=worker", **certificates.settings)
