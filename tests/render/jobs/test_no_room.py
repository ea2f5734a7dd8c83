"""A worker whose folder for temporary files is full, or that can start no process: the model is not at fault."""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from thumbq.cli.worker.folder import ThumbnailFolder
from thumbq.outcome import JobFailed
from thumbq.render.child import Limits
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.jobs.handler import ThumbnailMaker
from thumbq.render.jobs.metrics import RenderMetrics
from thumbq.render.jobs.model_files import ModelFolder, ModelSource, ModelUrls
from thumbq.render.samples import Sample, write_samples
from thumbq.render.system_libraries import advice, missing_libraries
from thumbq.tls import Tls
from thumbq.v1.job_pb2 import Job

MISSING = missing_libraries()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
ROOM = 8 << 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    samples = write_samples(tmp_path_factory.mktemp("models"))
    return next(sample for sample in samples if sample.name == "teacup.glb")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with little room."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
async def renderer(small: Path) -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        await renderer.start()
        yield renderer


@pytest.fixture
async def site(sample: Sample) -> AsyncIterator[str]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=sample.path.read_bytes())

    app = web.Application()
    app.router.add_get("/{model}.glb", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/{{model_id}}.glb"
    await runner.cleanup()


def job_of(sample: Sample) -> Job:
    return Job(id=1, model_id=sample.model_id, model_hash=sample.model_hash)


def failures(metrics: RenderMetrics) -> dict[str, float]:
    """Return how many models failed, by the reasons that occurred."""
    [family] = [family for family in metrics.registry.collect() if family.name == "thumbq_render_failures"]
    totals = {one.labels["reason"]: one.value for one in family.samples if one.name.endswith("_total")}
    return {reason: count for reason, count in totals.items() if count}


async def fails_for_want_of_room(source: ModelSource, job: Job, renderer: Renderer, small: Path, out: Path) -> None:
    metrics = RenderMetrics()
    maker = ThumbnailMaker(source, ThumbnailFolder(out), [renderer], metrics=metrics)
    ballast = small / "ballast"
    with ballast.open("wb") as file:
        room = os.statvfs(small)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
    with pytest.raises(JobFailed, match="No space left on device") as failure:
        await maker(job)
    assert failure.value.retryable
    assert failures(metrics) == {"storage": 1}
    ballast.unlink()
    assert Path((await maker(job)).path).exists()


@pytest.mark.small_disk
async def test_there_is_no_room_for_a_model_from_a_folder(
    sample: Sample, renderer: Renderer, small: Path, tmp_path: Path
):
    await fails_for_want_of_room(ModelFolder(sample.path.parent), job_of(sample), renderer, small, tmp_path)


@pytest.mark.small_disk
async def test_there_is_no_room_for_a_model_from_the_web(
    sample: Sample, site: str, renderer: Renderer, small: Path, tmp_path: Path
):
    await fails_for_want_of_room(ModelUrls(site, Tls()), job_of(sample), renderer, small, tmp_path)


@pytest.mark.small_disk
async def test_there_is_no_room_for_what_is_in_an_archive(renderer: Renderer, small: Path, tmp_path: Path):
    """The archive itself finds room, which the model in it does not: the archive is not taken for a damaged one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("padded.stl", b"solid\n" + b" " * ROOM + b"endsolid\n")
    (tmp_path / "7.zip").write_bytes(packed.getvalue())
    metrics = RenderMetrics()
    maker = ThumbnailMaker(ModelFolder(tmp_path), ThumbnailFolder(tmp_path), [renderer], metrics=metrics)
    with pytest.raises(JobFailed, match="No space left on device") as failure:
        await maker(Job(id=1, model_id=7, model_hash=hashlib.sha256(packed.getvalue()).hexdigest()))
    assert failure.value.retryable
    assert failures(metrics) == {"storage": 1}


async def test_a_process_that_cannot_be_started_is_said_and_counted(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "removed"))
    metrics = RenderMetrics()
    async with Renderer(Limits()) as renderer:
        maker = ThumbnailMaker(ModelFolder(sample.path.parent), ThumbnailFolder(tmp_path), [renderer], metrics=metrics)
        with pytest.raises(JobFailed, match=r"^The worker could not work on the model: No such file") as failure:
            await maker(job_of(sample))
    assert failure.value.retryable
    assert failures(metrics) == {"storage": 1}
