"""The reference worker with an object store: models come from it, pictures go into it."""

import asyncio
import hashlib
from functools import partial
from pathlib import Path

import pytest

from tests.render.hostile import models as hostile
from tests.support.stores.object_store import ObjectStore
from tests.support.stores.troubled_store import TroubledStore, cut, first, says
from tests.support.waiting import eventually
from thumbq.cli.worker.store import ModelsInStore, ThumbnailObjects
from thumbq.render.child import RenderFailed
from thumbq.render.intake.model import Intake, Model
from thumbq.render.jobs.thumbnails import NotStored
from thumbq_runtime.files.objects import InvalidStore, Objects


async def take(object_store: ObjectStore, intake: Intake, content: bytes, patience: float = 0) -> Model:
    """Take model 7, which a job names with the hash of this content."""
    source = ModelsInStore(f"{object_store.address}/models/{{model_id}}/{{model_hash}}", patience=patience)
    return await source.take(intake, 7, hashlib.sha256(content).hexdigest().upper())


async def test_a_model_comes_out_of_the_store_with_what_lies_beside_it(
    object_store: ObjectStore, intake: Intake, tmp_path: Path
):
    bucket = Objects(object_store.address)
    picture = hostile.secret(tmp_path / "own.png").read_bytes()
    content, strange = hostile.obj(""), hostile.gltf("../../own.png")
    for key, kept in (
        (f"models/7/{hashlib.sha256(content).hexdigest()}", content),
        (f"models/7/{hashlib.sha256(strange).hexdigest()}", strange),
        ("models/7/7.mtl", hostile.mtl("maps/wood grain.png")),
        ("models/7/maps/wood grain.png", picture),
        ("own.png", picture),
    ):
        await bucket.put(key, kept, "application/octet-stream")
    model = await take(object_store, intake, content)
    assert (model.format, model.remarks) == ("obj", ())
    assert (model.path.parent / "t0").read_bytes() == picture
    # what lies elsewhere in the bucket is no part of the model
    model = await take(object_store, intake, strange)
    assert model.remarks[0].startswith("own.png, which the model refers to, ")


async def test_a_model_that_cannot_be_taken_says_why(object_store: ObjectStore, intake: Intake):
    bucket = Objects(f"{object_store.address}/models/7")
    large = bytes(intake.most_bytes + 1)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in (("large", large), ("other", b"other"))}
    await bucket.put(digests["large"], large, "model/stl")
    await bucket.put(digests["other"], b"another", "model/stl")
    await refused(object_store, intake, b"missing", "The object store has no such model file.", retryable=True)
    message = "The model file, with what it refers to, is larger than the limit of 1 MB."
    await refused(object_store, intake, large, message, retryable=False)
    message = f"The content of {digests['other']} does not have the hash that the job names."
    await refused(object_store, intake, b"other", message, retryable=False)
    object_store.stop()
    message = "The model file could not be fetched: The object store cannot be reached, or is broken."
    await refused(object_store, intake, b"other", message, retryable=True)


async def refused(object_store: ObjectStore, intake: Intake, content: bytes, message: str, *, retryable: bool) -> None:
    with pytest.raises(RenderFailed) as refusal:
        await take(object_store, intake, content)
    assert (str(refusal.value), refusal.value.retryable) == (message, retryable)


async def test_pictures_are_kept_by_hash_and_a_store_that_is_away_is_said(object_store: ObjectStore):
    thumbnails = ThumbnailObjects(f"{object_store.address}/thumbs", patience=0)
    kept = [await thumbnails.keep("abcdef-512.webp", picture) for picture in (b"older", b"newer")]
    assert kept == [f"{object_store.address}/thumbs/ab/cd/abcdef-512.webp"] * 2
    assert object_store.objects() == {"thumbs/ab/cd/abcdef-512.webp": b"newer"}
    object_store.stop()
    with pytest.raises(NotStored, match=r"^The object store cannot be reached, or is broken\.$"):
        await thumbnails.keep("abcdef-512.webp", b"newest")


async def test_a_job_waits_for_a_store_that_is_away(
    object_store: ObjectStore, troubled_store: TroubledStore, intake: Intake, caplog: pytest.LogCaptureFixture
):
    """Otherwise an outage would take the attempts of every job, one after the other."""
    content = hostile.obj("")
    key = f"models/7/{hashlib.sha256(content).hexdigest()}"
    await Objects(object_store.address).put(key, content, "model/obj")
    thumbnails = ThumbnailObjects(f"{object_store.address}/thumbs", patience=600)
    for trouble, sentence in (
        (cut, "The object store cannot be reached, or is broken."),
        (says(403, "AccessDenied"), "The object store does not accept the credentials, or they do not allow this."),
    ):
        troubled_store.trouble = trouble
        keeping = asyncio.create_task(thumbnails.keep("abcdef-512.webp", b"picture"))
        await eventually(partial(says_so, caplog, f"{sentence} A job waits for it."), timeout=60)
        assert not keeping.done()
        troubled_store.trouble = None
        assert await asyncio.wait_for(keeping, 60) == f"{object_store.address}/thumbs/ab/cd/abcdef-512.webp"
        caplog.clear()
    # each of the four requests that the first attempt may make
    troubled_store.trouble = first(4, cut)
    assert (await asyncio.wait_for(take(object_store, intake, content, patience=600), 60)).format == "obj"


async def says_so(caplog: pytest.LogCaptureFixture, sentence: str) -> bool:
    return sentence in caplog.messages


def test_a_name_of_all_models_is_refused():
    with pytest.raises(InvalidStore, match="names the same object for every model"):
        ModelsInStore("s3://bucket/model.glb")
