"""Files of pictures are removed when nothing shows them, and only then."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.postgres.queue_under_test import QueueUnderTest, failure, new_job, picture
from tests.support.stores.troubled_store import says
from thumbq_runtime.files.objects import Objects
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.engine.removal import places
from thumbq_server.engine.removal.duties import ListSuperseded, RemovePictures
from thumbq_server.engine.removal.places import STILL_IN_WORK, FolderOfPictures, Outcome, StoreOfPictures, remove_file
from thumbq_server.storage import maintenance, model_versions
from thumbq_server.storage.model_versions import read_version
from thumbq_server.storage.reads.history import read_history
from thumbq_server.storage.removals import Removal
from thumbq_server.storage.transitions.forget import forget

DAY = 86_400.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "thumbnails"
    folder.mkdir()
    return folder


async def rendered(queue: QueueUnderTest, path: Path, model_id: int = 7, file: int = 1, *, force: bool = False) -> int:
    """Render a model's file into a picture at this path. Return the job."""
    (token,) = await queue.claimed(new_job(model_id, file, force=force))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")
    await queue.complete(picture(token, str(path)))
    return token.job_id


async def a_week_passes(queue: QueueUnderTest, *paths: Path) -> None:
    """Let everything that there is be a week older."""
    await queue.sql("UPDATE attempts SET ended_at = ended_at - interval '7 days'")
    week_ago = time.time() - 7 * DAY - 60
    for path in paths:
        os.utime(path, (week_ago, week_ago))


async def remove(queue: QueueUnderTest, root: Path) -> int:
    return await RemovePictures(queue.database, [FolderOfPictures(root)])()


async def removals(queue: QueueUnderTest) -> int:
    return int(await queue.value("count(*) FROM removals"))


async def test_the_pictures_of_a_forgotten_model_are_removed(others, root):
    await rendered(others, root / "7.webp")
    await rendered(others, root / "de" / "8.webp", model_id=8)
    await forget(others.lane, 7)
    assert await remove(others, root) == 1
    assert not (root / "7.webp").exists()
    assert (root / "de" / "8.webp").exists()
    assert await removals(others) == 0


async def test_a_file_that_another_model_shows_stays(others, root):
    await rendered(others, root / "same.webp", model_id=7)
    await rendered(others, root / "same.webp", model_id=8)
    await forget(others.lane, 7)
    assert await remove(others, root) == 0
    assert (root / "same.webp").exists()
    assert await removals(others) == 0


async def test_a_file_that_was_written_again_stays_until_its_job_is_reported(others, root):
    path = root / "7.webp"
    await rendered(others, path)
    await forget(others.lane, 7)
    (token,) = await others.claimed(new_job(7))
    path.write_bytes(b"another picture")
    later = time.time() + 1
    os.utime(path, (later, later))
    assert await remove(others, root) == 0
    await others.complete(picture(token, str(path)))
    await others.sql("UPDATE removals SET due_at = now()")
    assert await remove(others, root) == 0
    assert path.read_bytes() == b"another picture"
    assert await removals(others) == 0


@pytest.fixture
def clock_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of this machine jumps ahead by hours."""
    ahead = SimpleNamespace(time=lambda: time.time() + 2 * STILL_IN_WORK, monotonic=time.monotonic)
    monkeypatch.setattr(places, "time", ahead)


@pytest.mark.usefixtures("clock_ahead")
async def test_a_clock_that_jumps_ahead_makes_no_file_old_that_was_just_written(others, root):
    path = root / "7.webp"
    await rendered(others, path)
    await forget(others.lane, 7)
    later = time.time() + 1
    os.utime(path, (later, later))
    assert await remove(others, root) == 0
    assert path.exists()


@pytest.mark.usefixtures("clock_ahead")
def test_nor_does_one_that_postgresql_shares(root):
    path, now = root / "7.webp", datetime.now(UTC)
    path.write_bytes(b"picture")
    hours_later = now + timedelta(seconds=2 * STILL_IN_WORK)
    removal = Removal(1, str(path), reported_at=now - timedelta(minutes=1), looked_at=hours_later)
    assert remove_file(root, removal) is Outcome.CHANGED
    assert path.exists()


async def test_a_file_whose_job_was_never_reported_is_removed_in_the_end(others, root):
    path = root / "7.webp"
    await rendered(others, path)
    await a_week_passes(others)
    await forget(others.lane, 7)
    hours_ago = time.time() - 2 * STILL_IN_WORK
    os.utime(path, (hours_ago, hours_ago))
    assert await remove(others, root) == 1
    assert not path.exists()


async def test_a_crash_between_file_and_row_leaves_a_row_that_is_dropped(others, root):
    await rendered(others, root / "7.webp")
    await forget(others.lane, 7)
    (root / "7.webp").unlink()
    assert await remove(others, root) == 0
    assert await removals(others) == 0


async def test_nothing_outside_the_folder_is_removed(others, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    await rendered(others, outside / "7.webp")
    (root / "link").symlink_to(outside)
    await rendered(others, root / "link" / "8.webp", file=2)
    (root / "9.webp").symlink_to(outside / "7.webp")
    (token,) = await others.claimed(new_job(7, file=3))
    await others.complete(picture(token, str(root / "9.webp")))
    await rendered(others, root / "circle" / "6.webp", file=4)
    (root / "circle" / "6.webp").unlink()
    (root / "circle").rmdir()
    (root / "circle").symlink_to("circle")
    await forget(others.lane, 7)
    assert await remove(others, root) == 0
    assert {path.name for path in outside.iterdir()} == {"7.webp", "8.webp"}
    assert (root / "9.webp").is_symlink()
    assert await removals(others) == 0


async def test_without_its_folder_the_list_waits(others, root):
    await rendered(others, root / "7.webp")
    await forget(others.lane, 7)
    away = root.rename(root.with_name("away"))
    assert await remove(others, root) == 0
    assert await removals(others) == 1
    away.rename(root)
    await others.sql("UPDATE removals SET due_at = now()")
    assert await remove(others, root) == 1


async def test_a_superseded_picture_goes_after_the_grace_and_its_history_stays(others, root):
    old, new = root / "old.webp", root / "new.webp"
    job_id = await rendered(others, old)
    await rendered(others, new, file=2)
    superseded = ListSuperseded(others.database, DAY)
    assert await superseded() == 0
    await a_week_passes(others, old, new)
    assert await superseded() == 1
    assert await remove(others, root) == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert (await others.thumbnail(7)).path == str(new)
    assert [end.path for end in await read_history(others.database, job_id)] == [""]
    assert await superseded() == 0


async def test_the_last_picture_stays_when_a_later_render_failed(others, root):
    await rendered(others, root / "good.webp")
    (token,) = await others.claimed(new_job(7, file=2))
    await others.fail(failure(token, retryable=False))
    await a_week_passes(others)
    assert await ListSuperseded(others.database, DAY)() == 0


async def test_a_picture_that_a_version_shows_stays(others, root):
    await rendered(others, root / "old.webp")
    await rendered(others, root / "new.webp", file=2)
    await model_versions.write(others.database, [NewVersion(70, 7, new_job(7).model_hash)])
    await a_week_passes(others)
    assert await ListSuperseded(others.database, DAY)() == 0


async def test_a_version_that_is_named_later_shows_no_picture_that_is_gone(others, root):
    await rendered(others, root / "old.webp")
    await rendered(others, root / "new.webp", file=2)
    await a_week_passes(others)
    assert await ListSuperseded(others.database, DAY)() == 1
    await model_versions.write(others.database, [NewVersion(70, 7, new_job(7).model_hash)])
    version = await read_version(others.database, 70)
    assert version is not None
    assert version.path is None


async def test_a_picture_at_the_same_path_as_the_present_one_stays(others, root):
    path = root / "7.webp"
    await rendered(others, path)
    await rendered(others, path, force=True)
    await a_week_passes(others, path)
    assert await ListSuperseded(others.database, DAY)() == 1
    assert await remove(others, root) == 0
    assert path.exists()
    assert (await others.thumbnail(7)).path == str(path)


async def test_the_pictures_of_a_pruned_job_are_removed(others, root):
    old, new = root / "old.webp", root / "new.webp"
    await rendered(others, old)
    await rendered(others, new, file=2)
    await a_week_passes(others, old)
    assert await maintenance.prune_jobs(others.database, DAY, 0, 100) == (1, None)
    assert await remove(others, root) == 1
    assert (old.exists(), new.exists()) == (False, True)


async def test_objects_are_removed_as_files_are_and_wait_while_their_store_is_away(others, object_store):
    objects = Objects(f"{object_store.address}/thumbs")
    for model_id, key in ((7, "7.webp"), (8, "same.webp"), (9, "same.webp"), (10, "missing.webp"), (11, "11.webp")):
        (token,) = await others.claimed(new_job(model_id))
        await objects.put(key, b"picture", "image/webp")
        await others.complete(picture(token, objects.name(key)))
    beside = await Objects(object_store.address).put("beside.webp", b"picture", "image/webp")
    (token,) = await others.claimed(new_job(12))
    await others.complete(picture(token, beside))
    await objects.remove("missing.webp")
    await others.sql("UPDATE attempts SET ended_at = now() + interval '1 minute'")
    for model_id in (7, 8, 10, 11, 12):
        await forget(others.lane, model_id)
    await others.sql("UPDATE removals SET reported_at = now() - interval '1 minute' WHERE path LIKE '%/11.webp'")

    object_store.stop()
    assert await RemovePictures(others.database, [StoreOfPictures(objects, seconds=60)])() == 0
    waiting = {"7.webp", "11.webp", "missing.webp"}
    assert {Path(row["path"]).name for row in await others.sql("SELECT path FROM removals")} == waiting

    object_store.start()
    # another server, which has not met the outage
    assert await RemovePictures(others.database, [StoreOfPictures(objects, seconds=60)])() == 1
    assert set(object_store.objects()) == {"thumbs/same.webp", "thumbs/11.webp", "beside.webp"}
    # the object of model 11 was written after its report: it stays for another hour
    assert [row["path"] for row in await others.sql("SELECT path FROM removals")] == [objects.name("11.webp")]


async def test_objects_that_the_store_does_not_let_go_keep_no_others_waiting(others, object_store, troubled_store):
    """As those under a legal hold: each is asked for once, and again in an hour."""
    objects = Objects(object_store.address)
    for model_id in range(1, 41):
        (token,) = await others.claimed(new_job(model_id))
        kept = "held" if model_id <= 20 else "free"
        await others.complete(picture(token, await objects.put(f"{kept}/{model_id}.webp", b"picture", "image/webp")))
        await others.sql("UPDATE attempts SET ended_at = now() + interval '1 minute'")
        await forget(others.lane, model_id)

    async def trouble(_store, request):
        return await says(403, "AccessDenied")(_store, request) if "/held/" in request.path else None

    troubled_store.trouble = trouble
    removed = 0
    for _ in range(3):  # each is a server that has not met the refusals: the first ones take a whole round
        removed += await RemovePictures(others.database, [StoreOfPictures(objects, seconds=60)])()
    assert removed == 20
    assert {Path(key).parent.name for key in object_store.objects()} == {"held"}
    assert len(await others.sql("SELECT FROM removals")) == 20
