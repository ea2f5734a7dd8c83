"""A job is one trace, from the program that asks for it to its result, as a collector of OTLP sees it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import wait_until
from tests.support.postgres.made_data import copy_data
from tests.support.service.collector import Collector, Seen, collecting
from tests.support.service.served import MODEL_HASH, Service, data_folder, serving

PRODUCER = """
import asyncio, sys
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import NewJob

async def main(target, hash, *models):
    async with Producer(target) as producer:
        for model in models:
            await producer.enqueue_one(NewJob(model_id=int(model), model_hash=hash))

asyncio.run(main(*sys.argv[1:]))
"""
# Model 2 fails at its first attempt.
WORKER = """
import asyncio, sys
from thumbq import JobFailed, Thumbnail, Worker

async def handle(job):
    if job.model_id == 2 and job.attempt_count == 1:
        raise JobFailed("not yet", retry_delay=0.01)
    return Thumbnail("/pictures/1.webp", 1, 1, 1)

async def main(target):
    async with Worker(target, worker_id="painter") as worker:
        await worker.run(handle)

asyncio.run(main(sys.argv[1]))
"""
CALLER, JSON_WORKER = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01", "ef" * 8


@contextmanager
def worker(service: Service, collector: Collector) -> Iterator[None]:
    variables = os.environ | collector.variables()
    with subprocess.Popen([sys.executable, "-c", WORKER, service.grpc_address], env=variables) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.wait() == 0


def enqueue(service: Service, collector: Collector, *models: int) -> None:
    arguments = [service.grpc_address, MODEL_HASH, *map(str, models)]
    variables = os.environ | collector.variables() | {"OTEL_SERVICE_NAME": "shop"}
    subprocess.run([sys.executable, "-c", PRODUCER, *arguments], check=True, env=variables)


def post(service: Service, path: str, body: object, traceparent: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "traceparent": traceparent}
    message = urllib.request.Request(f"{service.page}api/thumbnail-jobs{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(message, timeout=60) as answer:
        answered: dict[str, Any] = json.loads(answer.read())
        return answered


def lines(spans: list[Seen]) -> list[tuple[str, str, str]]:
    """Return each span as service, name, and the name of its parent."""
    names = {span.id: span.name for span in spans}
    return sorted((span.service, span.name, names.get(span.parent, "")) for span in spans)


def test_enqueue_wait_attempt_and_result_are_one_trace_in_either_protocol(tmp_path: Path, made_data: Path) -> None:
    with (
        collecting() as collector,
        data_folder() as folder,
        serving(copy_data(made_data, folder), THUMBQ_RETRY_BASE="0.1", **collector.variables()) as service,
    ):
        enqueue(service, collector, 1, 2)
        with worker(service, collector):
            wait_until(lambda: len(collector.named("enqueue")) == 2, "the spans of the producer")
            first, second = (span.trace for span in collector.named("enqueue"))
            tree = collector.wait_for(first, 4)
            again = collector.wait_for(second, 6)
        assert lines(tree) == [
            ("shop", "enqueue", ""),
            ("thumbq-server", "wait", "enqueue"),
            ("thumbq-worker", "attempt", "wait"),
            ("thumbq-worker", "result", "attempt"),
        ]
        [attempt] = [span for span in tree if span.name == "attempt"]
        assert attempt.attributes["thumbq.model_id"] == 1
        assert attempt.attributes["thumbq.worker_id"] == "painter"
        assert not attempt.failed
        assert lines(again) == [
            ("shop", "enqueue", ""),
            ("thumbq-server", "wait", "enqueue"),
            ("thumbq-worker", "attempt", "enqueue"),
            ("thumbq-worker", "attempt", "wait"),
            ("thumbq-worker", "result", "attempt"),
            ("thumbq-worker", "result", "attempt"),
        ]
        failed, repeated = (span for span in again if span.name == "attempt")
        assert (failed.failed, failed.links, repeated.failed, repeated.links) == (True, [], False, [failed.id])

        trace, of_caller = CALLER.split("-")[1:3]
        post(service, "", {"modelId": 3, "modelHash": MODEL_HASH}, CALLER)
        job = post(service, "/dequeue", {"workerId": "json", "wait": "30s"}, CALLER)
        assert job["traceParent"].split("-")[1] == trace
        own = f"00-{trace}-{JSON_WORKER}-01"
        post(service, f"/{job['id']}/fail", {"errorMessage": "no", "retryDelay": "0s"}, own)
        job = post(service, "/dequeue", {"workerId": "json", "wait": "30s"}, CALLER)
        assert job["earlierAttempt"] == own
        picture = {"thumbnailPath": "/pictures/3.webp", "sizeBytes": 1, "width": 1, "height": 1}
        post(service, f"/{job['id']}/complete", picture, own)
        spans = collector.wait_for(trace, 4)
        assert lines(spans) == [
            ("thumbq-gateway", "enqueue", ""),
            ("thumbq-gateway", "result", ""),
            ("thumbq-gateway", "result", ""),
            ("thumbq-server", "wait", "enqueue"),
        ]
        assert [span.parent for span in spans if span.name == "enqueue"] == [of_caller]
        assert {span.parent for span in spans if span.name == "result"} == {JSON_WORKER}


def test_a_collector_that_is_away_costs_one_line_and_one_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

    from thumbq.span_export import OnceLogged

    with collecting() as gone:
        port = gone.port
    exporter = OnceLogged(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", timeout=1))
    span = TracerProvider().get_tracer("test").start_span("lost")
    span.end()
    exporter.export([span])  # type: ignore[list-item]
    exporter.export([span])  # type: ignore[list-item]
    assert [record.event for record in caplog.records if record.name == "thumbq"] == ["traces.lost"]  # type: ignore[attr-defined]
    with collecting(port) as collector:
        exporter._exporter.shutdown()
        exporter._exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", timeout=10)
        exporter.export([span])  # type: ignore[list-item]
        assert [seen.name for seen in collector.spans] == ["lost"]
    events = [record.event for record in caplog.records if record.name == "thumbq"]  # type: ignore[attr-defined]
    assert events == ["traces.lost", "traces.sent_again"]
    exporter.shutdown()


@pytest.mark.parametrize(
    ("variables", "service"),
    [
        ({}, "thumbq-producer"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,service.version=3"}, "shop"),
    ],
)
def test_a_program_has_the_name_that_the_variables_of_opentelemetry_give_it(
    variables: dict[str, str], service: str
) -> None:
    program = 'from thumbq import spans; spans.begin(spans.tracer("thumbq-producer"), "enqueue").end()'
    with collecting() as collector:
        subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | collector.variables() | variables)
        assert [span.service for span in collector.spans] == [service]


def test_a_program_that_has_another_exporter_goes_on_without_spans_and_is_told_so() -> None:
    program = """
import sys
import opentelemetry.sdk.trace
sys.modules["opentelemetry.exporter.otlp.proto.grpc.trace_exporter"] = None
from thumbq import spans
print([spans.tracer("thumbq-producer") for _ in range(2)])
"""
    with collecting() as collector:
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            env=os.environ | collector.variables(),
            capture_output=True,
            text=True,
        )
    assert (done.stdout, done.stderr.count("pip install 'thumbq[otel]'")) == ("[None, None]\n", 1)


def test_a_call_that_the_sampler_passes_over_sends_its_jobs_as_they_are() -> None:
    program = """
from thumbq.client.asking import asking
from thumbq.v1.queue_pb2 import NewJob

job = NewJob(model_id=1)
with asking([job]) as (sent,):
    print(sent is job)
"""
    with collecting() as collector:
        variables = os.environ | collector.variables() | {"OTEL_TRACES_SAMPLER": "always_off"}
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, env=variables, capture_output=True, text=True
        )
        assert (done.stdout, collector.spans) == ("True\n", [])
