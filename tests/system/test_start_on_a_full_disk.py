"""The embedded PostgreSQL starts on a disk that is full or takes no writes: one sentence, and nothing is lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

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
