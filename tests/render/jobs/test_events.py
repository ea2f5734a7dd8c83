"""A job whose model lacks a texture: the picture is there, and the job's log says what it lacks."""

import asyncio
import hashlib
import shutil
from pathlib import Path

import grpc
import pytest

from tests.support.service.server import running_server
from thumbq import NewJob, Producer, Worker
from thumbq.cli.worker.folder import ThumbnailFolder
from thumbq.render.child import Limits
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.jobs.events import JobEvents
from thumbq.render.jobs.handler import ThumbnailMaker
from thumbq.render.jobs.model_files import ModelFolder
from thumbq.render.outputs import Outputs
from thumbq.render.system_libraries import advice, missing_libraries
from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import ListJobEventsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

MISSING = missing_libraries()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))

CASE = Path(__file__).parents[1] / "cases" / "missingtex.gltf"


async def test_a_missing_texture_costs_the_texture_and_the_job_says_so(database_url: str, tmp_path: Path):
    models, thumbnails = tmp_path / "models", tmp_path / "thumbnails"
    models.mkdir()
    shutil.copy(CASE, models / "7.gltf")
    model_hash = hashlib.sha256(CASE.read_bytes()).hexdigest()
    outputs = Outputs(sizes=(256, 64))
    async with running_server(database_url) as server, Renderer(Limits()) as renderer:
        maker = ThumbnailMaker(ModelFolder(models), ThumbnailFolder(thumbnails), [renderer], outputs, JobEvents(server))
        async with Producer(server) as producer, Worker(server, concurrency=1) as worker, asyncio.TaskGroup() as group:
            group.create_task(worker.run(maker, handle_signals=False))
            job_id, _ = await producer.enqueue_one(NewJob(model_id=7, model_hash=model_hash))
            job = await producer.get(job_id, wait=50)
            worker.stop()
        async with grpc.aio.insecure_channel(server) as channel:
            log = await QueueServiceStub(channel).ListJobEvents(ListJobEventsRequest(job_id=job_id))
    assert job.status == JobStatus.JOB_STATUS_COMPLETED
    assert [(event.event_type, event.message) for event in log.events] == [
        ("Remark", "nope.png, which the model refers to, is missing.")
    ]
    assert sorted(path.name for path in thumbnails.rglob("*.webp")) == [
        outputs.file_name(model_hash, 256),
        outputs.file_name(model_hash, 64),
    ]
