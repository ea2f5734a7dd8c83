"""A disk that is full or takes no writes: one sentence at the start, not ready afterwards, and nothing is lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres.queue_under_test import new_job
from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from thumbq_server.engine.upkeep.janitor import Janitor
from thumbq_server.engine.upkeep.readiness import Readiness
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.enqueue import enqueue

pytestmark = pytest.mark.small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def filled(disk: Path, *, but: int = 0) -> Path:
    """Fill the disk but for some bytes. Return the file that does so."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        room = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - but)
    return ballast


def refusal(data_dir: Path) -> str:
    with pytest.raises(EmbeddedPostgresError) as refused:
        EmbeddedPostgres(data_dir).start()
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert str(data_dir) in sentence
    return sentence


def test_a_first_start_without_room_leaves_nothing_in_the_way_of_the_next(disk: Path) -> None:
    ballast = filled(disk, but=5_000_000)
    assert "No space left on device" in refusal(disk / "data")
    ballast.unlink()
    with EmbeddedPostgres(disk / "data") as dsn:
        assert dsn.startswith("postgresql://")


def test_a_later_start_without_room_says_so_and_works_with_room(disk: Path) -> None:
    with EmbeddedPostgres(disk / "data"):
        pass
    ballast = filled(disk)
    assert "No space left on device" in refusal(disk / "data")
    ballast.unlink()
    with EmbeddedPostgres(disk / "data") as dsn:
        assert dsn.startswith("postgresql://")


def test_a_disk_that_takes_no_writes_is_named(disk: Path) -> None:
    with EmbeddedPostgres(disk / "data"):
        pass
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "Read-only file system" in refusal(disk / "data")


async def enqueued_until_refused(lane: Lane) -> tuple[int, str]:
    """Return how many more jobs were acknowledged, and why the next ones were not."""
    acknowledged = 0
    for first in range(1000, 20_000, 500):
        try:
            acknowledged += len(await enqueue(lane, [new_job(first + model) for model in range(500)]))
        except Unavailable as error:
            return acknowledged, str(error)
    return acknowledged, ""


async def test_a_full_disk_is_not_ready_until_there_is_room(disk: Path) -> None:
    told: list[str | None] = []

    with EmbeddedPostgres(disk / "data") as dsn:
        await upgrade(dsn)
        async with Database(dsn) as database:
            readiness, lane = Readiness(database, Janitor([]), told.append), database.lane()
            acknowledged = len(await enqueue(lane, [new_job(model) for model in range(1, 101)]))
            ballast = filled(disk)
            more, refused = await enqueued_until_refused(lane)
            assert "No space left on device" in refused
            for _ in range(2):
                await readiness.look()
            assert told == ["the disk of the database is full"] * 2
            ballast.unlink()
            await readiness.look()
            assert told[2:] == [None]
            assert (await database.fetch("SELECT count(*) FROM jobs"))[0][0] == acknowledged + more
