"""docs/tutorial.md, block by block, as its reader would do it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.network.ports import free_port
from tests.support.service.served import request

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"Save this as `([\w.]+)`:\s*\Z")
INSTALLS, STAYS = "python3 -m venv", "# stays"
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]


class Reader:
    """A reader who saves each file and gives each command, on free ports instead of those of the page."""

    def __init__(self, folder: Path, programs: ExitStack) -> None:
        self.folder = folder
        self.programs = programs
        self.output = ""
        self.ports = {port: str(free_port()) for port in ("5009", "50051", "8000")}
        left_out = ("THUMBQ_", "PYTEST_", "DATABASE_URL")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "THUMBQ_HTTP_PORT": self.ports["5009"],
            "THUMBQ_GRPC_PORT": self.ports["50051"],
            "THUMBQ_SERVER": f"localhost:{self.ports['50051']}",
        }

    def follow(self, before: str, kind: str, text: str) -> None:
        """Do what a block says. `before` is the text above it, which names a file."""
        text = re.sub(r"\b(5009|50051|8000)\b", lambda port: self.ports[port[0]], text)
        if kind != "sh":
            name = NAME.search(before)
            assert name, f"no name for the block after: {before[-80:]}"
            (self.folder / name[1]).write_text(text)
        elif STAYS in text:
            self.programs.enter_context(self.staying(text))
        elif INSTALLS not in text:
            self.give(text)

    def give(self, commands: str) -> None:
        done = subprocess.run(
            ["bash", "-ec", f"{commands}\npwd"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"{commands}{done.stdout}"
        *output, folder = done.stdout.splitlines()
        self.output, self.folder = "\n".join(output), Path(folder)

    @contextmanager
    def staying(self, command: str) -> Iterator[None]:
        """Run a command that stays, and go on when what it serves answers."""
        with subprocess.Popen(["bash", "-c", f"exec env {command}"], cwd=self.folder, env=self.environment) as program:
            try:
                if "serve" in command:
                    is_http = "http.server" in command
                    self.wait_for(self.url("8000" if is_http else "5009", "" if is_http else "readyz"))
                yield
            finally:
                program.terminate()

    def url(self, port: str, path: str = "") -> str:
        return f"http://localhost:{self.ports[port]}/{path}"

    def wait_for(self, url: str) -> None:
        deadline = time.monotonic() + 240
        while request(url)[0] != 200:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


def blocks() -> Iterator[tuple[str, str, str]]:
    """Each block of the page: the text above it, its kind and its content."""
    end = 0
    text = PAGE.read_text()
    for block in BLOCK.finditer(text):
        yield text[end : block.start()], block[1], block[2]
        end = block.end()


def test_a_reader_comes_from_nothing_to_a_gallery(tmp_path: Path):
    with ExitStack() as programs:
        reader = Reader(tmp_path, programs)
        page = None
        for before, kind, text in blocks():
            reader.follow(before, kind, text)
            if "http.server" in text:
                playwright = programs.enter_context(sync_playwright())
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
                programs.callback(browser.close)
                page = browser.new_page()
                page.goto(reader.url("8000"))
                shows(page, Ready=2, Pending=1)
            elif "enqueue.py" in text and page is None and kind == "sh":
                assert "20.png: 256 × 171, http://localhost" in reader.output
            elif "cp photos" in text:
                shows(page, Ready=3)
            elif "thumbq forget" in text:
                shows(page, Ready=2, None_=1)
            elif "pytest" in text and kind == "sh" and INSTALLS not in text:
                assert "1 passed" in reader.output


def shows(page: Page | None, **counts: int) -> None:
    """Wait until the page has this number of thumbnails of each status."""
    assert page
    for status, count in counts.items():
        elements = page.locator(f"thumbq-thumbnail[status={status.rstrip('_')}]")
        expect(elements).to_have_count(count, timeout=120_000)
