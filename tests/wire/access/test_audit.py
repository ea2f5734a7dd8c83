"""The audit log: a transcript of what people do, and what it says of them afterwards."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from tests.gateway.access.test_keys import guarded
from tests.support.service.keys import keyed, prefix_of
from thumbq.cli import app
from thumbq.v1 import admin_pb2
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.queue_pb2 import GetJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_server.access.audit import Audit
from thumbq_server.domain.access.audit import Deed, Outcome
from thumbq_server.storage.postgres.database import Database


async def entries(admin: Any, **filters: Any) -> list[admin_pb2.AuditEntry]:
    return list((await admin.ListAudit(admin_pb2.ListAuditRequest(**filters))).entries)


async def recorded(admin: Any, count: int = 1, **filters: Any) -> list[admin_pb2.AuditEntry]:
    """The rows of the filters, once there are `count`: refusals and sign-ins come a moment later."""
    async with asyncio.timeout(60):
        while len(found := await entries(admin, **filters)) < count:
            await asyncio.sleep(0.05)
    return found


async def test_what_operators_do_is_recorded_with_who_from_where_and_how_it_ended(database_url, capfd):
    async with guarded(database_url) as queue:
        admin = AdminServiceStub(queue.admins)
        who = f"key {prefix_of(queue.keys['admin'])}"
        first, *made = reversed(await entries(admin, action="CreateKey"))
        assert (first.who, first.outcome, first.reference) == ("no key", "done", prefix_of(queue.keys["admin"]))
        assert {(entry.who, entry.outcome) for entry in made} == {(who, "done")}
        assert [entry.reference for entry in made] == [
            prefix_of(queue.keys[role]) for role in ("worker", "producer", "viewer")
        ]

        await admin.PauseQueue(admin_pb2.PauseQueueRequest(paused_by="ann", reason="a new release"))
        assert (await admin.ResumeQueue(admin_pb2.ResumeQueueRequest())).pause.paused_by == "ann"
        with pytest.raises(grpc.aio.AioRpcError, match="no key with this prefix"):
            await admin.RevokeKey(admin_pb2.RevokeKeyRequest(prefix="00000000"))
        revoke, resume, pause = await entries(admin, page_size=3)
        assert [(entry.action, entry.outcome) for entry in (pause, resume, revoke)] == [
            ("PauseQueue", "done"),
            ("ResumeQueue", "done"),
            ("RevokeKey", "refused"),
        ]
        assert "a new release" in pause.detail
        assert "127.0.0.1" in pause.address

        # By way of the gateway, the caller is the one that has called the gateway.
        assert await queue.status("POST", "/api/admin/cancel-jobs", "admin", json={"jobIds": [1]}) == 200
        (cancel,) = await entries(admin, action="CancelJobs")
        assert (cancel.who, cancel.address, cancel.outcome) == (who, "127.0.0.1", "done")
        assert await queue.status("GET", "/api/admin/audit?outcome=refused", "admin") == 200
        assert await queue.status("GET", "/api/admin/audit", "viewer") == 403

        # Who gives no name is named by the key.
        await admin.PauseQueue(admin_pb2.PauseQueueRequest())
        assert (await admin.ResumeQueue(admin_pb2.ResumeQueueRequest())).pause.paused_by == "admin of a test"
        assert await queue.status("POST", "/api/admin/pause", "admin", json={}) == 200
        assert (await admin.ResumeQueue(admin_pb2.ResumeQueueRequest())).pause.paused_by == "admin of a test"

        page = await admin.ListAudit(admin_pb2.ListAuditRequest(page_size=2))
        below = await admin.ListAudit(admin_pb2.ListAuditRequest(page_size=2, page_token=page.next_page_token))
        assert page.entries[-1].id > below.entries[0].id
        written = "".join(capfd.readouterr()) + str(await entries(admin))
        assert not [key for key in queue.keys.values() if key in written]


async def test_a_key_that_is_given_whole_is_revoked_and_stands_in_no_log(database_url, capfd):
    async with guarded(database_url) as queue:
        admin = AdminServiceStub(queue.admins)
        worker, viewer = queue.keys["worker"], queue.keys["viewer"]
        revoked = await admin.RevokeKey(admin_pb2.RevokeKeyRequest(prefix=worker))
        assert (revoked.key.prefix, revoked.key.HasField("revoked_at")) == (prefix_of(worker), True)
        await admin.PauseQueue(admin_pb2.PauseQueueRequest(reason=f"{viewer} is known to others"))
        pause, revoke = await entries(admin, page_size=2)
        assert f"tq_{prefix_of(worker)}_…" in revoke.detail
        assert f"tq_{prefix_of(viewer)}_… is known to others" in pause.detail
        written = "".join(capfd.readouterr()) + str([pause, revoke])
        assert not [key for key in (worker, viewer) if key in written]


async def test_refusals_and_sign_ins_are_recorded_and_a_flood_of_them_is_not(database_url):
    async with guarded(database_url) as queue:
        admin = AdminServiceStub(queue.admins)
        async with keyed(queue.server, queue.keys["viewer"]) as viewer:
            for _ in range(20):
                with pytest.raises(grpc.aio.AioRpcError, match="may not do this"):
                    await AdminServiceStub(viewer).ResumeQueue(admin_pb2.ResumeQueueRequest())
        (refusal,) = await recorded(admin, action="ResumeQueue", outcome="refused")
        assert refusal.who == f"key {prefix_of(queue.keys['viewer'])}"
        assert "viewer may not do this" in refusal.detail

        async with grpc.aio.insecure_channel(queue.server) as stranger:
            with pytest.raises(grpc.aio.AioRpcError, match="needs an API key"):
                await QueueServiceStub(stranger).GetJob(GetJobRequest(job_id=1))
        (refusal,) = await recorded(admin, action="GetJob")
        assert (refusal.who, refusal.outcome) == ("no key", "refused")

        wrong = "tq_00000000_" + "x" * 43
        for _ in range(5):
            assert await queue.status("POST", "/api/session", json={"apiKey": wrong}) == 401
        assert await queue.status("POST", "/api/session", json={"apiKey": queue.keys["viewer"]}) == 204
        assert await queue.status("GET", "/api/thumbnail-jobs") == 401
        done, refused = await recorded(admin, 2, action="sign in")
        assert (done.who, done.outcome, refused.who, refused.outcome) == (
            *(f"key {prefix_of(queue.keys['viewer'])}", "done"),
            *("no key", "refused"),
        )
        assert wrong not in str(await entries(admin))


async def test_a_command_lists_the_rows_and_old_ones_go(database_url, monkeypatch, capsys):
    async with guarded(database_url) as queue, Database(database_url, pool_size=1) as database:
        monkeypatch.setenv("THUMBQ_API_KEY", queue.keys["admin"])
        command = ["audit", "--action", "CreateKey", "--server", queue.server]
        shown = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert shown.exit_code == 0, shown.output
        assert prefix_of(queue.keys["viewer"]) in shown.output
        listed = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--json"])
        assert [row["outcome"] for row in json.loads(listed.output)] == ["done"] * 4

        audit = Audit(database, keep=0.0)
        audit.note(Deed("no key", "a\0b", "sign in", Outcome.REFUSED, "x" * 1000))
        await audit.write()
        assert await audit.prune() >= 5
        assert await audit.list(2**63 - 1, 10, "", "", "") == ([], None)
