"""The gallery in examples/fastapi, as its visitors see it in a browser."""

import asyncio
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Page, async_playwright, expect

from tests.support.service.served import request
from tests.support.waiting import eventually
from thumbq import Job, Thumbnail, Worker
from thumbq.testing import PrivateService, private_service

GALLERY = Path(__file__).parents[2] / "examples" / "fastapi"
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]


@asynccontextmanager
async def gallery(service: PrivateService, models: Path, port: int) -> AsyncIterator[str]:
    """Run the gallery as its page says. Yield its address."""
    variables = {"MODELS": str(models), "THUMBQ_SERVER": service.address, "THUMBQ_GATEWAY": service.url}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(GALLERY), "gallery:app", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, env={"PATH": "/usr/bin:/bin", **variables})
    address = f"http://127.0.0.1:{port}/"

    async def answers() -> bool:
        return (await asyncio.to_thread(request, address))[0] == 200

    try:
        await eventually(answers, timeout=60)
        yield address
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def page_at(address: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(address)
        yield page
        await browser.close()


def send(method: str, address: str, body: bytes | None = None) -> int:
    """Return the status of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, method=method), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


async def test_a_model_that_is_taken_up_appears_and_a_forgotten_one_goes(tmp_path: Path, unused_tcp_port: int):
    port = unused_tcp_port
    with private_service({"THUMBQ_CORS_ORIGINS": f"http://127.0.0.1:{port}"}) as service:

        def draw(job: Job) -> Thumbnail:
            path = service.thumbnails / f"{job.model_id}.png"
            Image.new("RGB", (64, 48), "teal").save(path)
            return Thumbnail(str(path), path.stat().st_size, 64, 48)

        async with gallery(service, tmp_path / "models", port) as address:
            assert await asyncio.to_thread(send, "PUT", f"{address}models/42", b"model") == 200
            async with page_at(address) as page:
                await expect(page.get_by_text("Model 42: Pending")).to_be_visible(timeout=30_000)
                async with Worker(service.address) as worker, asyncio.TaskGroup() as group:
                    group.create_task(worker.run(draw, handle_signals=False))
                    await expect(page.get_by_text("Model 42: Ready")).to_be_visible(timeout=30_000)
                    worker.stop()
                await expect(page.locator("img")).to_be_visible()
                assert await asyncio.to_thread(send, "DELETE", f"{address}models/42") == 200
                await expect(page.get_by_text("Model 42: None")).to_be_visible(timeout=30_000)
                await expect(page.locator("img")).to_be_hidden()


async def test_a_number_that_no_page_can_follow_is_refused_and_leaves_no_file(tmp_path: Path, unused_tcp_port: int):
    with private_service() as service:
        async with gallery(service, tmp_path / "models", unused_tcp_port) as address:
            for model_id in (0, -1, 2**53, 10**20):
                assert await asyncio.to_thread(send, "PUT", f"{address}models/{model_id}", b"model") == 422
    assert list((tmp_path / "models").iterdir()) == []
