"""Where the reference worker puts pictures: a folder, which may hang."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from thumbq.cli.worker import folder as worker_folder
from thumbq.cli.worker.folder import ThumbnailFolder
from thumbq.render.jobs.thumbnails import NotStored
from thumbq_server.domain.paths import PathRule

NAME = f"{'ab' * 32}-512.webp"
# A worker that is killed when a picture is to be on the disk.
KILLED = """
import os, signal, sys
from pathlib import Path
from thumbq.cli.worker.folder import ThumbnailFolder
os.fsync = lambda _file: os.kill(os.getpid(), signal.SIGKILL)
ThumbnailFolder(Path(sys.argv[1])).store("%s", b"half a picture")
"""
# A worker whose folder hangs when a picture is to be on the disk.
ENDS = """
import asyncio, os, sys, threading
from pathlib import Path
from thumbq.cli.worker.folder import ThumbnailFolder
hangs = threading.Event()
def hang(_file):
    hangs.set()
    threading.Event().wait()
os.fsync = hang
async def main():
    job = asyncio.create_task(ThumbnailFolder(Path(sys.argv[1])).keep("%s", b"a picture"))
    while not hangs.is_set():
        await asyncio.sleep(0.01)
    job.cancel()
asyncio.run(main())
print("ended")
"""


def test_a_picture_replaces_an_older_one(tmp_path: Path):
    folder = ThumbnailFolder(tmp_path)
    folder.store(NAME, b"older")
    path = folder.store(NAME, b"newer")
    assert path == tmp_path / "ab" / "ab" / NAME
    assert path.read_bytes() == b"newer"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_folder_that_is_named_from_beside_it_gives_paths_that_servers_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "worker")
    path = ThumbnailFolder(Path("../thumbnails")).store(NAME, b"a picture")
    assert path == tmp_path / "thumbnails/ab/ab" / NAME
    assert PathRule().check(str(path)) == str(path)


def test_what_a_killed_worker_left_is_removed_after_a_day(tmp_path: Path):
    subprocess.run([sys.executable, "-c", KILLED % NAME, str(tmp_path)], check=False, timeout=60)
    [left] = (file for file in tmp_path.rglob("*") if file.is_file())
    folder = ThumbnailFolder(tmp_path)
    path = folder.store(NAME, b"a picture")
    assert left.exists()  # another worker may still be writing it
    two_days_ago = time.time() - 2 * 86_400
    os.utime(left, (two_days_ago, two_days_ago))
    folder.store(f"{'cd' * 32}-512.webp", b"another picture")
    assert not left.exists()
    assert path.exists()


def test_a_folder_that_hangs_does_not_keep_the_worker_from_ending(tmp_path: Path):
    command = [sys.executable, "-c", ENDS % NAME, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "ended\n"


async def test_a_job_says_that_its_folder_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_folder, "_PATIENCE", 0.1)
    with monkeypatch.context() as disk:
        mended = threading.Event()
        disk.setattr(os, "fsync", lambda _file: mended.wait())
        with pytest.raises(NotStored, match=r"^The folder does not answer\.$"):
            await ThumbnailFolder(tmp_path).keep(NAME, b"a picture")
        mended.set()
