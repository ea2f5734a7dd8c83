"""The metrics of a real worker, as Debian's Prometheus scrapes them."""

import asyncio
import json
import re
import shutil
import sys
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import get_args

import pytest
import yaml

from tests.support.network.ports import free_port
from tests.support.service.server import running_server
from thumbq import NewJob, Producer
from thumbq.render.child import Reason, RenderFailed
from thumbq.render.jobs.metrics import RenderMetrics
from thumbq.render.samples import CORRUPT, Sample, write_samples
from thumbq.render.system_libraries import advice, missing_libraries
from thumbq.v1.job_pb2 import JobStatus

MISSING = missing_libraries()
PROMETHEUS = shutil.which("prometheus")
THUMBQ = Path(sys.executable).with_name("thumbq")
# All of these find something once a worker has drawn one model and failed another.
QUERIES = (
    'thumbq_render_models_total{outcome="completed"} >= 1',
    'thumbq_render_failures_total{reason="file"} >= 1',
    "thumbq_render_model_seconds_sum / thumbq_render_model_seconds_count > 0",
    "thumbq_render_stage_seconds_sum / thumbq_render_stage_seconds_count > 0",
    "thumbq_render_busy == 0",
    "thumbq_render_build_info",
)


def test_the_number_of_series_is_bounded():
    """Nothing that comes from a job is a label."""
    metrics = RenderMetrics()

    def series() -> int:
        return sum(len(metric.samples) for metric in metrics.registry.collect())

    def work() -> None:
        for reason in get_args(Reason):
            metrics.failed(reason)
        with metrics.in_slot():
            metrics.rendered({"load": 0.02, "frame": 0.1, "draw": 0.4, "encode": 0.01})

    work()
    before = series()
    for _ in range(100):
        work()
    assert series() == before < 120


def test_a_model_that_is_broken_off_counts_with_the_time_that_it_has_taken():
    metrics = RenderMetrics()
    with suppress(RenderFailed), metrics.in_slot():
        raise RenderFailed("The renderer took too long.", retryable=True, reason="time")
    assert metrics.registry.get_sample_value("thumbq_render_model_seconds_count") == 1
    assert metrics.registry.get_sample_value("thumbq_render_busy") == 0


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian's package prometheus)")
@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
async def test_prometheus_learns_what_a_worker_has_done(database_url: str, tmp_path: Path):
    samples = {sample.name: sample for sample in write_samples(tmp_path / "models")}
    drawn, failed = samples["teacup.glb"], samples[CORRUPT]
    async with running_server(database_url) as server, _worker(server, tmp_path) as metrics:
        assert [await _ended(server, sample) for sample in (drawn, failed)] == [
            JobStatus.JOB_STATUS_COMPLETED,
            JobStatus.JOB_STATUS_FAILED,
        ]
        async with _prometheus(tmp_path, metrics) as url:
            for query in QUERIES:
                # The test's own limit ends a query that never finds anything.
                while not await asyncio.to_thread(_answer, url, query):
                    await asyncio.sleep(0.2)


@asynccontextmanager
async def _worker(server: str, folder: Path) -> AsyncIterator[str]:
    """Run `thumbq worker`; yield the address of its metrics."""
    (folder / "pictures").mkdir()
    options = [f"--models={folder}/models", f"--thumbnail-root={folder}/pictures", f"--server={server}"]
    process = await asyncio.create_subprocess_exec(
        THUMBQ,
        "worker",
        *options,
        "--concurrency=1",
        "--metrics-port=0",
        "--metrics-host=[::1]",
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr
        said = ""
        while not (found := re.search(r"Metrics are at http://(\S+)/metrics", said)):
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
        yield found[1]
    finally:
        process.terminate()
        await process.communicate()


async def _ended(server: str, sample: Sample) -> JobStatus.ValueType:
    async with Producer(server) as producer:
        job_id, _ = await producer.enqueue_one(NewJob(model_id=sample.model_id, model_hash=sample.model_hash))
        while True:
            job = await producer.get(job_id, wait=20)
            if job.status not in {JobStatus.JOB_STATUS_PENDING, JobStatus.JOB_STATUS_PROCESSING}:
                return job.status


@asynccontextmanager
async def _prometheus(folder: Path, scraped: str) -> AsyncIterator[str]:
    """Run Prometheus, which scrapes this address every second; yield its URL."""
    target = {"job_name": "render", "scrape_interval": "1s", "static_configs": [{"targets": [scraped]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [target]}))
    address = f"127.0.0.1:{free_port()}"
    files = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            str(PROMETHEUS), *files, f"--web.listen-address={address}", stdout=log, stderr=log
        )
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


def _answer(url: str, query: str) -> list[object]:
    """Return the series that a query finds; none while Prometheus starts."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query={urllib.parse.quote(query)}", timeout=20) as answer:
            result: list[object] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []
