"""A folder of pictures that stalls, as a network share may, holds up nothing but the removal of its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.parts import WatchedDatabase, running, until
from tests.engine.removal.test_removal import removals, remove, rendered
from tests.gateway.test_stalled_files import Share
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from tests.support.waiting import eventually
from thumbq_server.engine.removal import places
from thumbq_server.engine.removal.duties import RemovePictures
from thumbq_server.engine.removal.places import FolderOfPictures
from thumbq_server.metrics.observer import Observer
from thumbq_server.parts import build
from thumbq_server.settings import Settings
from thumbq_server.storage.transitions.forget import forget


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    share = Share(monkeypatch)
    yield share
    share.mend()


async def forgotten(others: QueueUnderTest, folder: Path, *model_ids: int) -> None:
    """Leave pictures in the folder that nothing shows any more."""
    for model_id in model_ids:
        await rendered(others, folder / f"{model_id}.webp", model_id=model_id)
        await forget(others.lane, model_id)


async def test_it_ends_the_run_and_is_left_alone(
    others: QueueUnderTest, tmp_path: Path, share: Share, monkeypatch: pytest.MonkeyPatch
):
    """Each of a thousand files would take its whole time."""
    await forgotten(others, tmp_path / "stalled", 1, 2, 3, 4, 5)
    share.stall("stalled")
    with monkeypatch.context() as impatient:
        impatient.setattr(places, "_FILE_TIMEOUT", 0.05)
        removing = RemovePictures(others.database, [FolderOfPictures(tmp_path)])

    async def one_waits() -> bool:
        return share.waiting == 1

    for _ in range(2):
        assert await removing() == 0
        await eventually(one_waits)
    assert await removals(others) == 5
    share.mend()
    # Another server has not met it. The file that has is due in an hour.
    assert await remove(others, tmp_path) == 4
    assert await removals(others) == 1


async def test_one_that_is_slow_takes_little_time_of_each_run(others: QueueUnderTest, tmp_path: Path):
    await forgotten(others, tmp_path, 1, 2, 3)
    folder = FolderOfPictures(tmp_path, seconds=0)
    assert [await RemovePictures(others.database, [folder])() for _ in range(4)] == [1, 1, 1, 0]


async def test_leases_expire_meanwhile(
    others: QueueUnderTest, watched: WatchedDatabase, tmp_path: Path, share: Share, monkeypatch: pytest.MonkeyPatch
):
    """The duties are those of a server, as it is put together."""
    monkeypatch.setattr(places, "_FILE_TIMEOUT", 3600.0)
    await forgotten(others, tmp_path / "stalled", 7)
    (token,) = await others.claimed(new_job(8))
    share.stall("stalled")
    settings = Settings(database_url=watched.dsn, thumbnail_root=tmp_path, heartbeat_interval=0.01)
    async with running(build(settings, watched, Observer()).janitor.run()):
        await until(lambda: share.waiting)
        await others.let_run_out(token)

        async def expired() -> bool:
            return await others.status(token.job_id) == "Pending"

        await eventually(expired)
