"""What looking at a queue costs: the CPU time of server and PostgreSQL for each look, beside that for each job.

python -m bench.studies.operators [--jobs 5000] [--rounds 5] [--looks 100]
"""

import argparse
import asyncio
import statistics
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import psutil
import uvloop

from bench.running import service
from bench.running.processes import Process
from bench.studies.tls import drain
from thumbq.v1.admin_pb2 import GetStatsRequest, ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.queue_pb2 import ListJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.addresses import free_port

Look = Callable[[], Awaitable[object]]


class Spent:
    """The CPU seconds of a server and of the processes of its PostgreSQL."""

    def __init__(self, server: Process, postgres: EmbeddedPostgres) -> None:
        assert postgres.process
        self._server = psutil.Process(server.pid)
        self._postmaster = psutil.Process(postgres.process.pid)

    def seconds(self) -> float:
        """Return what they have spent so far."""
        spent = 0.0
        for process in (self._server, self._postmaster, *self._postmaster.children()):
            spent += sum(process.cpu_times()[:4])
        return spent


async def measure(target: str, looks: dict[str, Look], spent: Spent, wanted: argparse.Namespace) -> None:
    """Take drains and looks in turns, and print the medians."""
    found: dict[str, list[float]] = {"a job": [], **{name: [] for name in looks}}
    for number in range(wanted.rounds):
        before = spent.seconds()
        await drain(target, wanted.jobs, 1 + number * wanted.jobs)
        found["a job"].append((spent.seconds() - before) / wanted.jobs)
        for name, look in looks.items():
            before = spent.seconds()
            for _ in range(wanted.looks):
                await look()
            found[name].append((spent.seconds() - before) / wanted.looks)
    job = statistics.median(found["a job"])
    for name, each in found.items():
        cost = statistics.median(each)
        print(f"{name}: {1e6 * cost:,.0f} µs of CPU, as much as {cost / job:,.1f} jobs")


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--looks", type=int, default=100)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        postgres = EmbeddedPostgres(Path(name) / "postgres")
        with postgres as dsn:
            port = free_port("127.0.0.1", 0)
            metrics = f"http://127.0.0.1:{port}/metrics"
            async with (
                service.server(dsn, Path(name), THUMBQ_METRICS_PORT=str(port)) as (server, target),
                grpc.aio.insecure_channel(target) as channel,
            ):
                admin, queue = AdminServiceStub(channel), QueueServiceStub(channel)

                def scrape() -> Awaitable[bytes]:
                    return asyncio.to_thread(lambda: urllib.request.urlopen(metrics, timeout=30).read())

                looks: dict[str, Look] = {
                    "GetStats": lambda: admin.GetStats(GetStatsRequest()),
                    "ListWorkers": lambda: admin.ListWorkers(ListWorkersRequest()),
                    "a page of ListJobs": lambda: queue.ListJobs(ListJobsRequest(page_size=50)),
                    "a scrape of metrics": scrape,
                }
                await measure(target, looks, Spent(server, postgres), wanted)


if __name__ == "__main__":
    uvloop.run(main())
