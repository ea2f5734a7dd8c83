"""A file that cannot be read or written to its end, as on a network share that stalls."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.compatibility.pictures import picture
from tests.compatibility.test_uploads import upload
from tests.gateway.test_files import PNG, complete, file
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.http.files import picture_folder
from thumbq_gateway.metrics import Metrics
from thumbq_runtime.files import threads as file_threads
from thumbq_runtime.files.threads import FileThreads, Stalled

T = TypeVar("T")

STALLED, GOOD = 13, 42
MOST = picture_folder._MOST_KEPT


class Share:
    """A share whose files hang when they are opened or read, until the end of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mended = threading.Event()
        self._names: set[str] = set()
        self.waiting = 0
        monkeypatch.setattr(os, "open", self._hanging(os.open))
        monkeypatch.setattr(os, "statvfs", self._hanging(os.statvfs))

    def stall(self, name: str) -> None:
        self._names.add(name)

    def mend(self) -> None:
        self._mended.set()

    def _hanging(self, call: Callable[..., T]) -> Callable[..., T]:
        def hang(path: str, *arguments: object, **options: object) -> T:
            if str(path) in self._names:
                self.waiting += 1
                self._mended.wait()
            return call(path, *arguments, **options)

        return hang


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    share = Share(monkeypatch)
    yield share
    share.mend()


async def test_a_file_that_hangs_is_answered_503_once_its_time_is_over_and_at_once_afterwards(
    client: Client, thumbnail_root: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model_id in (STALLED, GOOD):
        (thumbnail_root / f"{model_id}.png").write_bytes(PNG)
        await complete(client, thumbnail_root / f"{model_id}.png", model_id)
    share.stall(f"{STALLED}.png")
    first = asyncio.create_task(file(client, STALLED))
    while not share.waiting:
        assert (await file(client, GOOD)).body == PNG
    answer = await first
    message = "The file cannot be read at the moment."
    assert (answer.status, answer.json["message"], answer.headers["Retry-After"]) == (503, message, "1")
    for _ in range(2 * file_threads._MOST):
        assert (await file(client, STALLED)).status == 503
    assert share.waiting == 1
    assert (await file(client, GOOD)).body == PNG


async def test_a_file_is_served_again_when_its_share_is_back(
    client: Client, thumbnail_root: Path, share: Share
) -> None:
    (thumbnail_root / "13.png").write_bytes(PNG)
    await complete(client, thumbnail_root / "13.png", STALLED)
    share.stall("13.png")
    assert (await file(client, STALLED)).status == 503
    share.mend()
    while (answer := await file(client, STALLED)).status == 503:
        await asyncio.sleep(0)
    assert answer.body == PNG


async def uploaded(client: Client) -> bool:
    return (await upload(client, picture("PNG"))).status == 200


async def test_uploads_to_a_folder_that_hangs_are_answered_503_and_lists_come_meanwhile(
    server: str, thumbnail_root: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folder, "_KEEP_TIMEOUT", 3.0)
    async with asyncio.timeout(60), running_gateway(server, thumbnail_root=thumbnail_root) as http:
        client = Client(http)
        await client.enqueue_many(range(1, 201))
        share.stall("uploads")
        uploads = [asyncio.create_task(upload(client, picture("PNG"))) for _ in range(3 * MOST)]
        while share.waiting < MOST:
            await asyncio.sleep(0)
        assert len((await client.get("/api/thumbnail-jobs?pageSize=200")).json["jobs"]) == 200
        message = "The folder of the pictures does not answer. Try again."
        for answer in [*await asyncio.gather(*uploads), await upload(client, picture("PNG"))]:
            assert (answer.status, answer.json["message"], answer.headers["Retry-After"]) == (503, message, "1")
        assert share.waiting == MOST
        share.mend()
        await eventually(lambda: uploaded(client))


async def test_uploads_whose_clients_hang_up_leave_no_more_behind_than_may_be_written_at_once(
    server: str, thumbnail_root: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folder, "_KEEP_TIMEOUT", 3.0)
    async with asyncio.timeout(60), running_gateway(server, thumbnail_root=thumbnail_root) as http:
        client = Client(http)
        share.stall("uploads")
        uploads = [asyncio.create_task(upload(client, picture("PNG"))) for _ in range(MOST)]
        while share.waiting < MOST:
            await asyncio.sleep(0)
        for one in uploads:
            one.cancel()
        assert (await upload(client, picture("PNG"))).status == 503
        assert share.waiting == MOST
        share.mend()
        await eventually(lambda: uploaded(client))


async def test_the_metrics_come_without_the_room_on_a_disk_that_hangs(
    client: Client, thumbnail_root: Path, share: Share
) -> None:
    room = "thumbq_gateway_disk_free_bytes "
    assert float((await client.get("/metrics")).text.split(f"\n{room}")[1].split()[0]) > 0
    share.stall(str(thumbnail_root))
    asked = asyncio.create_task(client.get("/metrics"))
    while not share.waiting:
        assert (await client.get("/healthz")).status == 200
    for answer in (await asked, await client.get("/metrics")):
        assert f"\n{room}NaN\n" in answer.text
    assert share.waiting == 1


def test_a_gateway_without_a_disk_for_pictures_shows_no_room() -> None:
    assert "thumbq_gateway_disk_free_bytes" not in {family.name for family in Metrics(None).registry.collect()}


async def test_a_machine_without_another_thread_loses_none_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = FileThreads(timeout=30, most=1)

    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", no_more)
        with pytest.raises(Stalled):
            await threads.run("a", os.getpid)
    assert await threads.run("a", os.getpid) == os.getpid()


def test_the_process_ends_although_a_thread_hangs() -> None:
    program = """
import asyncio, threading
from thumbq_runtime.files.threads import FileThreads, Stalled
async def main():
    try:
        await FileThreads(timeout=0.1).run("a", threading.Event().wait)
    except Stalled:
        print("stalled")
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "stalled\n"
