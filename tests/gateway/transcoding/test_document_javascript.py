"""The JavaScript of docs/thumbnail-job-endpoints.md, run by node against the live service."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway.transcoding.document import ADDRESS, COMPLETE, DEQUEUE, FAIL, TEST
from tests.support.network.http_client import Client
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]
FASTER = {"sleep(5000)": "sleep(20)", "sleep(10000)": "sleep(20)", "sleep(2000)": "sleep(20)"}
Run = Callable[[str], Awaitable[str]]


@asynccontextmanager
async def node(script: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        "node", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def written(client: Client, tmp_path: Path) -> Callable[[str], Path]:
    """Write a script that talks to this test's gateway and sleeps less."""

    def write(source: str) -> Path:
        for slow, fast in (FASTER | {ADDRESS: str(client.http._base_url).rstrip("/")}).items():
            source = source.replace(slow, fast)
        script = tmp_path / "example.mjs"
        script.write_text(source)
        return script

    return write


@pytest.fixture
def run(written: Callable[[str], Path]) -> Run:
    """Run a script to its end. Returns its output."""

    async def run(source: str) -> str:
        async with node(written(source)) as process:
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    return run


def without_usage(source: str) -> str:
    """Return the functions of an example without the lines that call them."""
    return source.partition("// Usage")[0]


async def test_the_dequeue_example(client: Client, run: Run) -> None:
    assert await run(DEQUEUE.blocks("javascript")[0]) == "No jobs available\n"
    job_id = await client.enqueue(42)
    assert f"Processing job {job_id} for model 42" in await run(DEQUEUE.blocks("javascript")[0])


async def test_the_worker_loop_completes_what_there_is_and_what_comes(
    client: Client, written: Callable[[str], Path]
) -> None:
    source = DEQUEUE.blocks("javascript")[1]
    assert all(slow in source for slow in FASTER)

    async def all_completed() -> bool:
        jobs = (await client.get("/api/thumbnail-jobs")).json["jobs"]
        return {job["status"] for job in jobs} == {"Completed"}

    await client.enqueue_many(range(1, 4))
    async with node(written(source)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"Worker worker-001 started\n"
        assert await eventually(all_completed)
        await client.enqueue(99)
        assert await eventually(all_completed)
        process.terminate()
        output = (await process.stdout.read()).decode()
    assert output.count("completed successfully") >= 3
    assert "Error" not in output


async def test_the_worker_loop_survives_a_time_without_answers(client: Client, written: Callable[[str], Path]) -> None:
    source = DEQUEUE.blocks("javascript")[1].replace("'worker-001'", "''")
    async with node(written(source)) as process:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while b"Dequeue failed: 400" not in await process.stdout.readline():
                pass


async def test_the_complete_example(client: Client, run: Run) -> None:
    await client.claim(15)
    assert await run(COMPLETE.blocks("javascript")[0]) == "Job completed: Model 15 thumbnail is Ready\n"


async def test_the_fail_example(client: Client, run: Run) -> None:
    await client.claim(15)
    broken = "const job = { id: 15 }; async function processJob() { throw new Error('out of memory'); }\n"
    output = await run(broken + FAIL.blocks("javascript")[0])
    assert output == "Job 15 marked as failed for model 15\nJob 15 failed: out of memory\n"
    assert (await client.job(15))["errorMessage"] == "out of memory"


@pytest.mark.parametrize(("model", "status"), [("'model'", "Completed"), ("null", "Pending")])
async def test_the_error_handling_example(client: Client, run: Run, model: str, status: str) -> None:
    await client.claim(15)
    functions = without_usage(COMPLETE.blocks("javascript")[0]) + without_usage(FAIL.blocks("javascript")[0])
    parts = f"""
        async function downloadModel() {{ return {model}; }}
        async function generateThumbnail(model) {{ return model.length; }}
        async function uploadThumbnail(size) {{
            return {{ thumbnailPath: '/thumbnails/15.png', sizeBytes: size, width: 1, height: 1 }};
        }}
        await processJob({{ id: 15, modelId: 15 }}).catch(error => console.log(error.message));
    """
    await run(functions + FAIL.blocks("javascript")[1] + parts)
    assert (await client.job(15))["status"] == status


async def test_the_example_of_the_test_route(client: Client, run: Run) -> None:
    async with client.listen() as page:
        assert await run(TEST.blocks("javascript")[0]) == "Test notification sent successfully\n" * 2
        ready, failed = [(await page.event()).data for _ in range(2)]
    assert (ready["status"], ready["thumbnailUrl"]) == ("Ready", "/models/1/thumbnail/file")
    assert (failed["status"], failed["errorMessage"]) == ("Failed", "Processing error occurred")
