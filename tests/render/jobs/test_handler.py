"""The handler of the reference worker: jobs become files, or fail with a sentence."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from thumbq.cli.worker.folder import ThumbnailFolder
from thumbq.outcome import JobFailed
from thumbq.render.child import Limits
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.jobs.handler import ThumbnailMaker
from thumbq.render.jobs.model_files import ModelFolder
from thumbq.render.outputs import DEFAULT, SIZE
from thumbq.render.samples import CORRUPT, Sample, write_samples
from thumbq.render.system_libraries import advice, missing_libraries
from thumbq.v1.job_pb2 import Job

MISSING = missing_libraries()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return {sample.name: sample for sample in write_samples(tmp_path_factory.mktemp("models"))}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


async def test_a_job_becomes_a_stored_thumbnail(samples: dict[str, Sample], renderer: Renderer, tmp_path: Path):
    sample = samples["teacup.glb"]
    maker = _maker(sample.path.parent, tmp_path, renderer)
    thumbnail = await maker(Job(id=1, model_id=sample.model_id, model_hash=sample.model_hash))
    content = Path(thumbnail.path).read_bytes()
    name = DEFAULT.file_name(sample.model_hash, SIZE)
    assert thumbnail == (str(ThumbnailFolder(tmp_path).path(name)), len(content), SIZE, SIZE)
    assert Image.open(io.BytesIO(content)).size == (SIZE, SIZE)


async def test_a_job_says_why_it_failed_and_whether_to_try_again(
    samples: dict[str, Sample], renderer: Renderer, tmp_path: Path
):
    corrupt = samples[CORRUPT]
    maker = _maker(corrupt.path.parent, tmp_path, renderer)
    with pytest.raises(JobFailed, match=r"^The GLB file is incomplete") as failure:
        await maker(Job(model_id=corrupt.model_id, model_hash=corrupt.model_hash))
    assert not failure.value.retryable
    with pytest.raises(JobFailed, match=r"^There is no file for model 999") as failure:
        await maker(Job(model_id=999, model_hash=corrupt.model_hash))
    assert failure.value.retryable
    assert not list(tmp_path.rglob("*.webp"))


async def test_jobs_share_the_renderers_and_a_failure_frees_its_own(
    samples: dict[str, Sample], renderer: Renderer, tmp_path: Path
):
    maker = _maker(samples[CORRUPT].path.parent, tmp_path, renderer)
    wanted = [samples[name] for name in (CORRUPT, "pawn.obj", CORRUPT, "cottage.glb")]
    jobs = [Job(model_id=sample.model_id, model_hash=sample.model_hash) for sample in wanted]
    outcomes = await asyncio.gather(*map(maker, jobs), return_exceptions=True)
    assert [isinstance(outcome, JobFailed) for outcome in outcomes] == [True, False, True, False]


async def test_a_thumbnail_folder_that_cannot_be_written_is_said(
    samples: dict[str, Sample], renderer: Renderer, tmp_path: Path
):
    sample = samples["pawn.obj"]
    root = tmp_path / "a file, not a folder"
    root.touch()
    maker = _maker(sample.path.parent, root, renderer)
    with pytest.raises(JobFailed, match=r"^The thumbnail could not be stored: ") as failure:
        await maker(Job(model_id=sample.model_id, model_hash=sample.model_hash))
    assert failure.value.retryable


def _maker(models: Path, thumbnails: Path, renderer: Renderer) -> ThumbnailMaker:
    return ThumbnailMaker(ModelFolder(models), ThumbnailFolder(thumbnails), [renderer])
