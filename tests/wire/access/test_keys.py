"""Keys over gRPC: they let callers in by their roles, and end streams when they end."""

import asyncio
import time
from datetime import timedelta
from types import SimpleNamespace

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.service.keys import GATEWAY_SECRET, keyed, make_key, prefix_of, revoke
from tests.support.service.server import running_server, status_of
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_server.access import keyring
from thumbq_server.storage.postgres.suitability import Unsuitable

UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
LIST = queue_pb2.ListJobsRequest()
WORK = queue_pb2.DequeueJobRequest(worker_id="w1")


async def test_without_any_key_everybody_may_call(queue):
    await queue.ListJobs(LIST)
    await queue.DequeueJob(WORK)


async def test_the_first_key_closes_the_queue_to_callers_without_one(server, channel, queue):
    admin = await make_key(channel, "admin")
    code, text = await status_of(queue.ListJobs(LIST))
    assert code is UNAUTHENTICATED
    assert "THUMBQ_API_KEY" in text
    async with keyed(server, admin) as own:
        await QueueServiceStub(own).ListJobs(LIST)


async def test_the_first_key_is_an_admins(channel):
    code, text = await status_of(make_key(channel, "worker"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "admin" in text


async def test_a_key_may_do_what_its_role_may(server, channel):
    async with keyed(server, await make_key(channel, "admin")) as admins:
        worker, viewer = await make_key(admins, "worker"), await make_key(admins, "viewer")
        async with keyed(server, worker) as workers, keyed(server, viewer) as viewers:
            await QueueServiceStub(workers).DequeueJob(WORK)
            await QueueServiceStub(viewers).ListJobs(LIST)
            code, text = await status_of(QueueServiceStub(viewers).DequeueJob(WORK))
            assert (code, "viewer" in text) == (DENIED, True)
            assert (await status_of(make_key(workers, "worker")))[0] is DENIED


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
async def test_a_key_is_shown_in_either_header(name, channel, queue):
    admin = await make_key(channel, "admin")
    value = f"Bearer {admin}" if name == "authorization" else admin
    await queue.ListJobs(LIST, metadata=((name, value),))


@pytest.mark.parametrize("shown", ["tq_00000000_" + "x" * 43, "tq_", "", "x" * 5000, "Bearer"])
async def test_another_text_is_no_key(shown, server, channel):
    admin = await make_key(channel, "admin")
    for wrong in (shown, admin[:-1], admin + "x", admin.replace(prefix_of(admin), "0" * 8)):
        async with keyed(server, wrong) as strangers:
            code, text = await status_of(QueueServiceStub(strangers).ListJobs(LIST))
            assert code is UNAUTHENTICATED
            assert admin not in text


async def test_probes_need_no_key(channel):
    await make_key(channel, "admin")
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_database_never_sees_a_key(channel, database_url):
    admin = await make_key(channel, "admin")
    connection = await asyncpg.connect(database_url)
    stored = str(await connection.fetch("SELECT * FROM keys"))
    await connection.close()
    assert prefix_of(admin) in stored
    assert admin.rpartition("_")[2] not in stored


async def test_a_revoked_key_is_refused_on_every_server_within_two_seconds(server, channel, database_url):
    admin = await make_key(channel, "admin")
    async with running_server(database_url) as other, keyed(server, admin) as admins:
        key = await make_key(admins, "worker")
        async with keyed(other, key) as workers:
            worker = QueueServiceStub(workers)
            # The other server learns of the key twice a second, and slows down who tries without a pause.
            while not await admitted(worker):
                await asyncio.sleep(0.3)
            stream = worker.StreamJobs()
            await stream.write(queue_pb2.StreamJobsRequest(hello=queue_pb2.StreamJobsRequest.Hello(worker_id="w2")))
            await stream.read()
            await revoke(admins, key)
            revoked = time.monotonic()
            while await admitted(worker):
                assert time.monotonic() - revoked < 30  # two seconds on a machine with nothing else to do
            assert (await status_of(read_all(stream)))[0] is UNAUTHENTICATED
        listed = (await AdminServiceStub(admins).ListKeys(admin_pb2.ListKeysRequest())).keys
        assert [key.HasField("revoked_at") for key in listed] == [False, True]


async def admitted(worker):
    call = worker.DequeueJob(WORK)
    code = await call.code()
    assert code in {grpc.StatusCode.OK, UNAUTHENTICATED}
    return code is grpc.StatusCode.OK


async def test_the_streams_of_a_revoked_key_end_with_a_clear_status(server, channel):
    async with keyed(server, await make_key(channel, "admin")) as admins:
        worker, viewer = await make_key(admins, "worker"), await make_key(admins, "viewer")
        async with keyed(server, worker) as workers, keyed(server, viewer) as viewers:
            working = QueueServiceStub(workers).StreamJobs()
            await working.write(queue_pb2.StreamJobsRequest(hello=queue_pb2.StreamJobsRequest.Hello(worker_id="w1")))
            await working.read()
            watching = NotificationServiceStub(viewers).WatchQueue(notification_pb2.WatchQueueRequest())
            await watching.read()
            waiting = QueueServiceStub(workers).DequeueJob(
                queue_pb2.DequeueJobRequest(worker_id="w2", wait=Duration(seconds=30))
            )
            assert await admitted(QueueServiceStub(workers))  # on the same connection, so the other call waits by now
            await revoke(admins, worker)
            await revoke(admins, viewer)
            for call in (read_all(working), read_all(watching), waiting):
                code, text = await status_of(call)
                assert (code, "ended" in text) == (UNAUTHENTICATED, True)


async def read_all(stream):
    while await stream.read() is not grpc.aio.EOF:
        pass
    raise AssertionError("the stream ended without a status")


async def test_the_first_key_ends_the_streams_of_callers_without_one(channel):
    watching = NotificationServiceStub(channel).WatchQueue(notification_pb2.WatchQueueRequest())
    await watching.read()
    await make_key(channel, "admin")
    assert (await status_of(read_all(watching)))[0] is UNAUTHENTICATED


async def test_a_key_expires(server, channel):
    life = Duration()
    life.FromTimedelta(timedelta(seconds=2))
    admin = await make_key(channel, "admin")
    async with keyed(server, admin) as admins:
        viewer = await make_key(admins, "viewer", expires_after=life)
    async with keyed(server, viewer) as viewers:
        watching = NotificationServiceStub(viewers).WatchQueue(notification_pb2.WatchQueueRequest())
        assert (await status_of(read_all(watching)))[0] is UNAUTHENTICATED
        assert (await status_of(QueueServiceStub(viewers).ListJobs(LIST)))[0] is UNAUTHENTICATED


async def test_a_clock_that_jumps_ahead_ends_no_key(server, channel, monkeypatch):
    life = Duration()
    life.FromTimedelta(timedelta(hours=1))
    admin = await make_key(channel, "admin")
    async with keyed(server, admin) as admins:
        viewer = await make_key(admins, "viewer", expires_after=life)
    hours_later = SimpleNamespace(time=lambda: time.time() + 7200, monotonic=time.monotonic)
    monkeypatch.setattr(keyring, "time", hours_later)
    async with keyed(server, viewer) as viewers:
        await QueueServiceStub(viewers).ListJobs(LIST)


async def test_a_gateway_shows_its_secret_and_checks_keys(database_url):
    async with running_server(database_url, gateway_secret=GATEWAY_SECRET) as server:
        async with grpc.aio.insecure_channel(server) as channel:
            admin = await make_key(channel, "admin")
        async with keyed(server, GATEWAY_SECRET) as gateway, keyed(server, admin) as admins:
            await QueueServiceStub(gateway).ListJobs(LIST)
            assert (await status_of(make_key(gateway, "admin")))[0] is DENIED
            check = admin_pb2.CheckKeysRequest()
            answer = await AdminServiceStub(gateway).CheckKeys(check)
            assert answer.keys_needed
            assert (await status_of(AdminServiceStub(admins).CheckKeys(check)))[0] is DENIED


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"role": 0}, "role"),
        ({"expires_after": Duration(seconds=-1)}, "expiresAfter"),
        ({"expires_after": Duration(seconds=400_000_000)}, "expiresAfter"),
    ],
)
async def test_a_key_without_sense_is_refused(fields, about, channel):
    request = admin_pb2.CreateKeyRequest(**{"role": admin_pb2.ROLE_ADMIN, "name": "n", **fields})
    code, text = await status_of(AdminServiceStub(channel).CreateKey(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert about in text


@pytest.mark.parametrize("prefix", ["00000000", "", "\0", "x" * 1000])
async def test_revoking_what_is_no_key_is_refused(prefix, channel):
    assert (await status_of(revoke(channel, f"tq_{prefix}_")))[0] is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_server_for_other_machines_starts_with_a_key_only(database_url):
    with pytest.raises(Unsuitable, match="thumbq keys create"):
        async with running_server(database_url, grpc_host="0.0.0.0"):
            pass
    async with running_server(database_url) as server, grpc.aio.insecure_channel(server) as channel:
        admin = await make_key(channel, "admin")
    async with running_server(database_url, grpc_host="0.0.0.0") as server:
        async with grpc.aio.insecure_channel(server) as strangers:
            assert (await status_of(QueueServiceStub(strangers).ListJobs(LIST)))[0] is UNAUTHENTICATED
        async with keyed(server, admin) as admins:
            await QueueServiceStub(admins).ListJobs(LIST)


async def test_with_insecure_no_key_is_needed(database_url):
    async with (
        running_server(database_url, grpc_host="0.0.0.0", insecure=True) as server,
        grpc.aio.insecure_channel(server) as anybody,
    ):
        await QueueServiceStub(anybody).ListJobs(LIST)


async def test_wrong_keys_are_slowed_down_and_right_ones_are_not(server, channel):
    admin = await make_key(channel, "admin")
    async with keyed(server, "tq_00000000_" + "x" * 43) as guessing, keyed(server, admin) as own:
        guesses = [status_of(QueueServiceStub(guessing).ListJobs(LIST)) for _ in range(40)]
        texts = dict(await asyncio.gather(*guesses))
        assert texts.keys() == {UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "Wrong API keys come from this address too often" in texts[grpc.StatusCode.RESOURCE_EXHAUSTED]
        await QueueServiceStub(own).ListJobs(LIST)
