"""What a server tells Prometheus."""

import asyncio
import math
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from tests.support.postgres.databases import new_role
from tests.support.service.keys import make_key
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.operator.test_admin import dequeue, enqueue
from tests.wire.operator.test_operator import complete, fail, pause, resume
from tests.wire.worker import Worker
from thumbq.v1 import admin_pb2, admin_pb2_grpc, queue_pb2, queue_pb2_grpc
from thumbq_server.domain.operations import Depth, Durations, Quantiles
from thumbq_server.domain.records import Counters as JobCounts
from thumbq_server.metrics.counters import Counters
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.address import parse_address


class Scraped(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The samples of one scrape, by name and labels."""

    def value(self, name: str, **labels: str) -> float:
        return self.get((name, frozenset(labels.items())), 0.0)


@asynccontextmanager
async def measured_server(database_url: str, **settings: Any):
    """Run a server with metrics. Yield a channel to it, and a function that scrapes it."""
    with capture_logs() as logs:
        async with running_server(database_url, metrics_port=0, **settings) as address:
            (port,) = (line["port"] for line in logs if line["event"] == "metrics.ready")

            def read(headers: dict[str, str]) -> str:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return str(answer.read(), "utf-8")

            async def scrape(**headers: str) -> Scraped:
                families = text_string_to_metric_families(await asyncio.to_thread(read, headers))
                samples = (sample for family in families for sample in family.samples)
                return Scraped({(one.name, frozenset(one.labels.items())): one.value for one in samples})

            async with grpc.aio.insecure_channel(address) as channel:
                yield channel, scrape


async def test_jobs_results_and_calls_are_counted(database_url):
    async with measured_server(database_url) as (channel, scrape):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        for model_id in range(1, 6):
            await enqueue(queue, model_id)
        done = await dequeue(queue)
        await complete(queue, done)
        await fail(queue, await dequeue(queue), retryable=False)
        await dequeue(queue)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        await admin.CancelModelJobs(admin_pb2.CancelModelJobsRequest(model_id=5))
        stale = queue_pb2.CompleteJobRequest(
            job_id=done.id, lease_token=f"{done.lease_token}9", thumbnail_path="/a.png", size_bytes=1, width=1, height=1
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await queue.CompleteJob(stale)
        found = await scrape()
        assert found.value("thumbq_results_total", verb="complete", verdict="ok") == 1
        assert found.value("thumbq_results_total", verb="fail", verdict="ok") == 1
        assert found.value("thumbq_dead_letters_total") == 1
        assert found.value("thumbq_cancelled_total") == 1
        assert found.value("thumbq_rpcs_total", rpc="EnqueueJob", status="OK") == 5
        refused = {labels for (name, labels), count in found.items() if name == "thumbq_rpcs_total" and count}
        assert any(dict(labels)["rpc"] == "CompleteJob" and dict(labels)["status"] != "OK" for labels in refused)
        assert found.value("thumbq_rpc_seconds_count", rpc="DequeueJob") == 3
        assert found.value("thumbq_batch_size_sum", verb="enqueue") == 5
        assert found.value("thumbq_ready") == 1

        async def shows(**expected: int) -> bool:
            now = await scrape()
            return all(now.value("thumbq_jobs", status=status) == count for status, count in expected.items())

        await eventually(lambda: shows(pending=1, processing=1, completed=1, failed=1, cancelled=1), timeout=60)
        found = await scrape()
        assert found.value("thumbq_workers") == 1
        assert found.value("thumbq_oldest_due_age_seconds") > 0
        assert found.value("thumbq_processing_seconds", quantile="0.5") > 0
        assert found.value("thumbq_database_bytes") > 0
        assert ("thumbq_dead_rows", frozenset({("table", "ready")})) in found
        assert (
            found[("thumbq_lock_waits", frozenset())] == found[("thumbq_longest_lock_wait_seconds", frozenset())] == 0
        )
        assert ("thumbq_database_disk_free_bytes", frozenset()) not in found


async def test_streams_are_counted_while_they_are_open_and_a_pause_is_shown(database_url):
    async with measured_server(database_url) as (channel, scrape):
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()

        async def shows(name: str, value: float, **labels: str) -> bool:
            return bool((await scrape()).value(name, **labels) == value)

        assert await shows("thumbq_streams", 1, rpc="StreamJobs")
        worker.call.cancel()
        await eventually(lambda: shows("thumbq_streams", 0, rpc="StreamJobs"))
        await pause(admin)
        await eventually(lambda: shows("thumbq_paused", 1), timeout=60)
        await resume(admin)
        await eventually(lambda: shows("thumbq_paused", 0), timeout=60)
        await admin.GetStats(admin_pb2.GetStatsRequest())
        assert await shows("thumbq_rpcs_total", 1, rpc="GetStats", status="OK")


async def test_a_server_that_is_cut_off_shows_no_figures_of_the_past(database_url, postgres):
    others = await asyncpg.connect(postgres)
    async with measured_server(database_url) as (channel, scrape):
        await enqueue(queue_pb2_grpc.QueueServiceStub(channel))

        async def sees(waiting: float) -> bool:
            return bool((await scrape()).value("thumbq_jobs", status="pending") == waiting)

        async def knows_nothing() -> bool:
            found = await scrape()
            unlabelled = ("workers", "paused", "oldest_due_age_seconds")
            return all(math.isnan(found.value(f"thumbq_{name}")) for name in unlabelled) and not any(
                name in {"thumbq_jobs", "thumbq_dead_rows"} for name, _ in found
            )

        await eventually(lambda: sees(1), timeout=60)
        name = parse_address(database_url).database
        await others.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await others.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await eventually(knows_nothing, timeout=60)
        await others.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await eventually(lambda: sees(1), timeout=60)
    await others.close()


async def test_the_room_on_the_disk_of_the_database_is_shown_where_its_folder_is(database_url, tmp_path: Path):
    folder = tmp_path / "postgres"
    async with measured_server(database_url, database_folder=folder) as (_, scrape):

        async def room() -> float:
            return float((await scrape()).value("thumbq_database_disk_free_bytes"))

        assert math.isnan(await room())
        folder.mkdir()

        async def is_known() -> bool:
            return await room() > 0

        await eventually(is_known, timeout=60)


def test_durations_are_shown_no_longer_once_the_log_has_none():
    counters = Counters()
    depth = Depth(JobCounts(0, 0, 0, 0, 0), None, 0, None)

    def waits() -> list[float]:
        families = {family.name: family for family in counters.registry.collect()}
        return [sample.value for sample in families["thumbq_wait_seconds"].samples]

    counters.queue(depth, Durations(1, Quantiles(1, 2, 3), Quantiles(1, 2, 3)))
    assert waits() == [1, 2, 3]
    counters.queue(depth, Durations(0, None, None))
    assert waits() == []


async def test_a_duty_that_waits_keeps_the_gauges_from_nothing(database_url):
    locker = await asyncpg.connect(database_url)
    async with measured_server(database_url) as (channel, scrape), locker.transaction():
        # The duty that looks for traces waits for it for as long as a statement may.
        await locker.execute("LOCK TABLE job_traces")
        waiting = "count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"

        async def is_held_up() -> bool:
            return bool(await locker.fetchval(f"SELECT {waiting}"))

        await eventually(is_held_up)
        await enqueue(queue_pb2_grpc.QueueServiceStub(channel))

        async def sees_the_job() -> bool:
            return bool((await scrape()).value("thumbq_jobs", status="pending") == 1)

        await eventually(sees_the_job, timeout=20)
    await locker.close()


async def test_a_lock_on_the_jobs_is_told_although_nobody_can_count_them(database_url):
    locker, reader = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    async with measured_server(database_url, statement_timeout=1.0) as (_, scrape):

        async def tells_of_the_lock() -> bool:
            found = await scrape()
            return found.value("thumbq_longest_lock_wait_seconds") > 0 and math.isnan(found.value("thumbq_workers"))

        async with locker.transaction():
            await locker.execute("LOCK TABLE jobs")
            waiting = asyncio.ensure_future(reader.fetch("SELECT FROM jobs"))
            await eventually(tells_of_the_lock, timeout=60)
        await waiting
    await reader.close()
    await locker.close()


async def test_duties_and_dead_letters_are_counted_from_zero(database_url):
    async with measured_server(database_url) as (_, scrape):

        async def has(name: str, **labels: str) -> bool:
            return bool((await scrape()).get((name, frozenset(labels.items()))) == 0)

        await eventually(lambda: has("thumbq_duty_done_total", duty="expire leases"))
        assert await has("thumbq_dead_letters_total")


async def test_the_age_of_transactions_that_the_role_may_not_see_is_no_number(database_url):
    admin = await asyncpg.connect(database_url)
    async with new_role(admin, database_url) as (name, as_role):
        await admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        await admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
        async with measured_server(as_role) as (_, scrape):

            async def shows(condition) -> bool:
                found = await scrape()
                age = found.value("thumbq_oldest_transaction_seconds")
                return bool(found.value("thumbq_database_bytes") > 0 and condition(age))

            await eventually(lambda: shows(math.isnan), timeout=60)
            await admin.execute(f"GRANT pg_monitor TO {name}")
            await eventually(lambda: shows(math.isfinite), timeout=60)
    await admin.close()


def test_without_a_port_there_are_no_metrics():
    assert Settings(database_url="postgresql://host/name").metrics_port is None


async def test_metrics_are_shown_to_keys_once_there_are_keys(database_url):
    async with measured_server(database_url) as (channel, scrape):
        assert await scrape()
        key = await make_key(channel, "admin")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await scrape()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            await scrape(Authorization=f"Bearer {key[:-1]}")
        assert await scrape(Authorization=f"Bearer {key}")
