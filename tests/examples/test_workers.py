"""The workers in examples/ against a real service, each started as its page says."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.support.service.served import request
from thumbq import BlockingClient, Job, JobFailed, Thumbnail, Unsuccessful, Worker
from thumbq.testing import PrivateService, private_service

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGEST = hashlib.sha256(b"model").digest()
# 23 says that it has drawn, and 24 does not say how large.
BY_MODEL = """#!/bin/sh
case $1 in
    21 | 9007199254740993) echo picture > $2; echo 64 48 ;;
    23) echo 64 48 ;;
    24) echo picture > $2 ;;
    *) echo no such model >&2; exit 1 ;;
esac
"""


def hash_of(model_id: int) -> bytes:
    return hashlib.sha256(str(model_id).encode()).digest()


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed")


@pytest.fixture(scope="module")
def service() -> Iterator[PrivateService]:
    with private_service() as service:
        yield service


@contextmanager
def running(*command: str | Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker until the block ends; SIGTERM ends it in order."""
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **variables}) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def test_photos_get_thumbnails_and_a_text_file_its_reason(service: PrivateService, tmp_path: Path):
    Image.new("RGB", (2000, 1000), "teal").save(tmp_path / "1.jpg")
    Image.new("L", (30, 40)).save(tmp_path / "2.png")
    (tmp_path / "3.txt").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no number")
    with running(sys.executable, EXAMPLES / "photos/worker.py", tmp_path, service.thumbnails, service.address):
        output = subprocess.check_output(
            [sys.executable, EXAMPLES / "photos/enqueue.py", tmp_path, service.address], text=True, timeout=50
        )
    first, second, third = output.splitlines()
    assert first.startswith("1.jpg: 512 × 256, /models/1/thumbnail/file")
    assert second.startswith("2.png: 30 × 40, /models/2/thumbnail/file")
    assert third == "3.txt: 3.txt is no picture"


def test_each_kind_has_its_handler_and_its_options(service: PrivateService, tmp_path: Path):
    (tmp_path / "51.obj").write_text("v 0 0 0\nv 1 -1 0\n")
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "52.png")
    colour, tiles = {"colour": "red"}, {"tiles": 3}
    with (
        BlockingClient(service.address) as client,
        running(sys.executable, EXAMPLES / "kinds/worker.py", tmp_path, service.thumbnails, service.address),
    ):
        model = client.enqueue(51, DIGEST, options=colour).job_id
        texture = client.enqueue(52, DIGEST, kind="Texture", options=tiles).job_id
        missing = client.enqueue(53, DIGEST, kind="Texture").job_id
        drawn, tiled = client.wait_for(model, timeout=120), client.wait_for(texture, timeout=120)
        with pytest.raises(Unsuccessful, match=r"there is no 53\.png"):
            client.wait_for(missing, timeout=120)
    assert (drawn.width, tiled.width) == (512, 510)
    assert drawn.path
    assert tiled.path
    assert Image.open(drawn.path).getpixel((256, 256)) == (255, 0, 0)
    assert Image.open(tiled.path).getpixel((500, 10)) == (0, 128, 128)


@needs("curl", "jq")
@pytest.mark.parametrize(("host", "direct"), [("127.0.0.1", {}), ("0.0.0.0", {"NO_PROXY": "0.0.0.0"})])
def test_a_worker_in_bash_completes_and_fails_jobs(
    service: PrivateService, tmp_path: Path, host: str, direct: dict[str, str]
):
    render = tmp_path / "render.sh"
    render.write_text(BY_MODEL)
    render.chmod(0o755)
    url = service.url.rstrip("/").replace("127.0.0.1", host)
    command: list[str | Path] = [EXAMPLES / "bash/worker.sh", url, service.thumbnails]
    with (
        running(*command, RENDER=str(render), http_proxy="http://127.0.0.1:1", **direct),
        BlockingClient(service.address) as client,
    ):
        good = [client.enqueue(model_id, DIGEST, force=True).job_id for model_id in (21, 2**53 + 1)]
        bad = {
            client.enqueue(model_id, hash_of(model_id), max_attempts=1, force=True).job_id: reason
            for model_id, reason in ((22, "no such model"), (23, "No such file"), (24, "jq: "))
        }
        for job_id in good:
            picture = client.wait_for(job_id, timeout=120)
            assert (picture.width, picture.height, picture.size_bytes) == (64, 48, 8)
        for job_id, reason in bad.items():
            with pytest.raises(Unsuccessful, match=reason):
                client.wait_for(job_id, timeout=120)


@pytest.mark.node
@needs("node")
def test_a_worker_in_node_completes_and_fails_jobs_on_the_stream(service: PrivateService, tmp_path: Path):
    if not (EXAMPLES / "node/node_modules").exists():
        pytest.skip("the packages of examples/node are not installed (npm ci)")
    render = tmp_path / "render.sh"
    render.write_text("#!/bin/sh\n[ $1 = 41 ] || { echo no such model >&2; exit 1; }\necho picture > $2; echo 64 48\n")
    render.chmod(0o755)
    node = shutil.which("node")
    assert node
    with BlockingClient(service.address) as client:
        command: list[str | Path] = [node, EXAMPLES / "node/worker.js", service.thumbnails, render, service.address]
        with running(*command, http_proxy="http://127.0.0.1:1") as process:
            good = client.enqueue(41, DIGEST).job_id
            bad = client.enqueue(42, DIGEST, max_attempts=1).job_id
            picture = client.wait_for(good, timeout=120)
            assert (picture.width, picture.height, picture.size_bytes) == (64, 48, 8)
            with pytest.raises(Unsuccessful, match="no such model"):
                client.wait_for(bad, timeout=120)
        assert process.returncode == 0


def test_a_django_view_waits_for_the_picture(service: PrivateService, tmp_path: Path, unused_tcp_port: int):
    for name in ("31.glb", "32.glb"):
        (tmp_path / name).write_text(name)
    variables = {"MODELS": str(tmp_path), "THUMBQ_SERVER": service.address}
    address = f"127.0.0.1:{unused_tcp_port}"

    def handler(job: Job) -> Thumbnail:
        if job.model_id == 32:
            raise JobFailed("no faces", retryable=False)
        return Thumbnail(f"{service.thumbnails}/a.png", 1, 640, 480)

    async def work() -> None:
        async with Worker(service.address, worker_id="of-django") as worker, asyncio.TaskGroup() as group:
            group.create_task(worker.run(handler, handle_signals=False))
            answers = [await asyncio.to_thread(request, f"http://{address}/models/{number}") for number in (31, 32, 33)]
            worker.stop()
        assert [status for status, _ in answers] == [200, 502, 404]
        assert json.loads(answers[0][1])["width"] == 640
        assert json.loads(answers[1][1]) == {"status": "Failed", "error": "no faces"}

    gallery = EXAMPLES / "django/gallery.py"
    with running(sys.executable, gallery, "runserver", "--noreload", "--skip-checks", address, **variables):
        while not request(f"http://{address}/")[0]:
            time.sleep(0.1)
        with ThreadPoolExecutor() as thread:
            thread.submit(asyncio.run, work()).result()


@needs("systemd-analyze")
def test_the_systemd_unit_is_valid():
    unit = EXAMPLES / "systemd/thumbq-worker.service"
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=50
    )
    # The program and its user exist only where the unit is installed.
    complaints = [
        line for line in checked.stderr.splitlines() if str(unit.name) in line and "not executable" not in line
    ]
    assert complaints == []
