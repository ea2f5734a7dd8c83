"""The demo with the real service, real workers and real pictures."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.processes import descendants, is_running, wait_for_end
from thumbq.render.samples import CATALOGUE, CORRUPT
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))

DEMO = [str(Path(sys.executable).with_name("thumbq")), "demo"]
ANY_PORTS = ["--http-port=0", "--grpc-port=0"]
# The demo must use none of these.
OF_ANOTHER_SERVICE = {
    "DATABASE_URL": "postgresql://nowhere/none",
    "PORT": "1",
    "THUMBQ_THUMBNAIL_ROOT": "/none",
    "THUMBQ_THUMBNAIL_STORE": "s3://none/thumbs",
    "THUMBQ_API_KEY_FILE": "/none",
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests of this module, so that its database is made once."""
    return tmp_path_factory.mktemp("demo")


def test_once_renders_every_sound_model_says_why_the_corrupt_one_failed_and_ends(data_dir: Path):
    ran = subprocess.run(
        [*DEMO, "--once", *ANY_PORTS, f"--data-dir={data_dir}"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | OF_ANOTHER_SERVICE,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    outcomes = re.findall(r"^  \[ ?(\d+)/16\] (\w+) +(\S+?)(:.*)?$", ran.stdout, re.MULTILINE)
    assert [int(number) for number, *_ in outcomes] == list(range(1, 17))
    assert {name for _, word, name, _ in outcomes if word == "ready"} == set(CATALOGUE) - {CORRUPT}
    assert [(name, why) for _, word, name, why in outcomes if word == "failed"] == [
        (CORRUPT, ": The GLB file is incomplete: 61480 of 122960 bytes.")
    ]
    assert re.search(rf"15 thumbnails are ready after \d+ s; {CORRUPT} is corrupt on purpose\.\n$", ran.stdout)
    pictures = list((data_dir / "thumbnails").rglob("*.webp"))
    assert len(pictures) == 15
    assert all(Image.open(io.BytesIO(picture.read_bytes())).size == (512, 512) for picture in pictures)


def test_it_renders_again_what_an_earlier_demo_has_rendered_and_ctrl_c_ends_it(data_dir: Path):
    with _running(data_dir) as demo:
        page = _wait_for(demo, r"The page is at (\S+)")
        _wait_for(demo, r"^  \[ 1/16\] ready")
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert b"<html" in answer.read()
        processes = descendants(demo.pid)
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate()
        assert demo.returncode == 0
        assert rest.endswith("Ending.\n")
    assert len(processes) >= 8
    assert not [process for process in processes if is_running(process)]
    for number in (1, 2):
        _, in_hand, after = re.split(
            r"Stopping with (\d+) jobs in hand\n", (data_dir / f"render-{number}.log").read_text()
        )
        assert len(re.findall(r"drawn in|failed:", after)) == int(in_hand), "the worker did not finish what it held"
        assert "Worker ended: " in after


def test_it_leaves_no_process_behind_when_it_is_killed(data_dir: Path):
    with _running(data_dir) as demo:
        _wait_for(demo, r"^  \[ 1/16\] ready")
        processes = descendants(demo.pid)
        demo.kill()
    assert len(processes) >= 8
    wait_for_end(processes, 30)


def test_a_port_in_use_is_said_and_nothing_is_left(data_dir: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = subprocess.run(
            [*DEMO, "--once", f"--http-port={taken.getsockname()[1]}", "--grpc-port=0", f"--data-dir={data_dir}"],
            check=False,
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 1
    assert "The service did not start:" in ran.stderr
    assert "Traceback" not in ran.stderr


@contextmanager
def _running(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*DEMO, *ANY_PORTS, f"--data-dir={data_dir}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def _wait_for(demo: subprocess.Popen[str], pattern: str) -> str:
    assert demo.stdout
    output = ""
    for line in demo.stdout:
        output += line
        if found := re.search(pattern, line):
            return found[found.re.groups]
    raise AssertionError(f"the demo ended before it printed {pattern}:\n{output}")
