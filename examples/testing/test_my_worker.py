"""Tests of a worker's handler, and of what pages hear of it."""

import asyncio
from pathlib import Path

from thumbq import BlockingClient, Client, Job, JobFailed, Thumbnail, hash_file, options_of
from thumbq.testing import PrivateService, Recorder, drain


def render(job: Job) -> Thumbnail:
    """Stand for the handler of your worker."""
    if job.model_id == 404:
        raise JobFailed("there is no such model", retryable=False)
    return Thumbnail(f"/thumbnails/{job.model_hash}.png", size_bytes=1234, width=512, height=512)


def test_a_model_gets_its_picture(thumbq_service: PrivateService, tmp_path: Path) -> None:
    """Enqueue, work the queue dry, and look at the picture."""
    model = tmp_path / "7.glb"
    model.write_bytes(b"a teapot")
    with BlockingClient(thumbq_service.address) as client:
        job_id = client.enqueue(7, hash_file(model)).job_id
        asyncio.run(drain(thumbq_service.address, render))
        picture = client.wait_for(job_id, timeout=60)
    assert (picture.status, picture.width) == ("Ready", 512)


def test_each_kind_has_its_handler(thumbq_service: PrivateService) -> None:
    """Work with the handlers that `Worker.run` gets, and look at what each of them did."""

    def fail(job: Job) -> Thumbnail:
        raise JobFailed(f"there is no sound {options_of(job)['name']}", retryable=False)

    with BlockingClient(thumbq_service.address) as client:
        client.enqueue(8, b"\1" * 32)
        client.enqueue(9, b"\2" * 32, kind="Sound", options={"name": "rain"})
        drained = asyncio.run(drain(thumbq_service.address, {"Model": render, "Sound": fail}))
        assert {job.model_id: str(outcome) for job, outcome in drained}[9] == "there is no sound rain"
        assert [picture.status for picture in client.thumbnails([8, 9])] == ["Ready", "Failed"]


def test_a_page_hears_that_a_model_is_missing(thumbq_service: PrivateService) -> None:
    """Record what is announced while the handler fails."""

    async def story() -> None:
        async with Client(thumbq_service.address) as client, Recorder(thumbq_service.address) as recorder:
            await client.enqueue(404, b"\0" * 32)
            (drained,) = await drain(thumbq_service.address, render)
            assert isinstance(drained.outcome, JobFailed)
            announced = await recorder.status(404, "Failed")
            assert announced.error_message == "there is no such model"
            assert not announced.will_retry

    asyncio.run(story())
