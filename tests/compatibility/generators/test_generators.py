"""Clients in two languages are generated from /openapi.json without a warning, and work with a real gateway."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.network.http_client import Client, digest

FOLDER = Path(__file__).parent
ENVIRONMENT = FOLDER.parents[2] / ".venv-generators" / "bin"
NODE_TOOLS = FOLDER / "node_modules" / ".bin"
COMPILE = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--lib", "es2022,dom"]
# The outcome, the model, the priority and the status of the job; then of a job and of a picture that are not there.
SEEN = ["Created", 7, 5, "Pending", 5, 404]
# Uses the client that openapi-python-client has made, as module `made`.
PROGRAM = """
import json
import sys

from made import Client
from made.api.notification import thumbnail_file
from made.api.queue import enqueue_job, get_job
from made.models import EnqueueJobRequest, EnqueueJobResponse, Job

url, model_hash = sys.argv[1:]
client = Client(base_url=url)
enqueued = enqueue_job.sync(client=client, body=EnqueueJobRequest(model_id=7, model_hash=model_hash, priority=5))
assert isinstance(enqueued, EnqueueJobResponse), enqueued
job = get_job.sync(enqueued.job_id, client=client)
assert isinstance(job, Job), job
refused = get_job.sync(enqueued.job_id + 1, client=client)
picture = thumbnail_file.sync_detailed(7, client=client)
print(json.dumps([enqueued.outcome, job.model_id, job.priority, job.status, refused.code, picture.status_code]))
"""


async def description(client: Client, folder: Path) -> Path:
    file = folder / "openapi.json"
    file.write_text(json.dumps((await client.get("/openapi.json")).json))
    return file


async def run(*command: str | Path, folder: Path) -> str:
    """Return what a program writes. It must not fail, and must not warn. The gateway runs meanwhile."""
    path = os.pathsep.join([str(ENVIRONMENT), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "NODE_OPTIONS": "", "PYTHONPATH": str(folder)}
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=200
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    return done.stdout


async def test_openapi_python_client(client: Client, tmp_path: Path) -> None:
    if not (ENVIRONMENT / "openapi-python-client").exists():
        pytest.skip("openapi-python-client is not installed (make test installs it)")
    file = await description(client, tmp_path)
    generate = ("generate", "--meta", "none", "--fail-on-warning", "--output-path", "made")
    await run(ENVIRONMENT / "openapi-python-client", *generate, "--path", file, folder=tmp_path)
    url = str(client.http._base_url)
    seen = await run(ENVIRONMENT / "python", "-c", PROGRAM, url, digest(7), folder=tmp_path)
    assert json.loads(seen) == SEEN


@pytest.mark.node
async def test_openapi_typescript(client: Client, tmp_path: Path) -> None:
    if shutil.which("node") is None or not NODE_TOOLS.exists():
        pytest.skip("openapi-typescript is not installed (make test installs it where npm is there)")
    file = await description(client, tmp_path)
    await run(NODE_TOOLS / "openapi-typescript", file, "--output", "made.d.ts", folder=tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    shutil.copy(FOLDER / "uses_typescript.ts", tmp_path)
    await run(NODE_TOOLS / "tsc", *COMPILE, "uses_typescript.ts", folder=tmp_path)
    url = str(client.http._base_url)
    assert json.loads(await run("node", "uses_typescript.js", url, digest(7), folder=tmp_path)) == SEEN
