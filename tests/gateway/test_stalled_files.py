"""A file that cannot be read to its end, as on a network share that stalls."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.test_files import PNG, complete, file
from tests.support.network.http_client import Client
from thumbq_runtime import file_threads

STALLED, GOOD = 13, 42


class Share:
    """A share whose files hang when they are opened or read, until the end of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mended = threading.Event()
        self._names: set[str] = set()
        self.waiting = 0
        monkeypatch.setattr(os, "open", self._hanging(os.open))

    def stall(self, name: str) -> None:
        self._names.add(name)

    def mend(self) -> None:
        self._mended.set()

    def _hanging(self, call: Callable[..., int]) -> Callable[..., int]:
        def hang(path: str, *arguments: object, **options: object) -> int:
            if path in self._names:
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


def test_the_process_ends_although_a_thread_hangs() -> None:
    program = """
import asyncio, threading
from thumbq_runtime.file_threads import FileThreads, Stalled
async def main():
    try:
        await FileThreads(timeout=0.1).run("a", threading.Event().wait)
    except Stalled:
        print("stalled")
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "stalled\n"
