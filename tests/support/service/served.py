"""`thumbq serve` as a process, for tests of the whole service."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import descendants, wait_for_end

THUMBQ = Path(sys.executable).with_name("thumbq")
MODEL_HASH = "ab" * 32


@dataclass(frozen=True)
class Service:
    """A running `thumbq serve` and the addresses that it printed."""

    parent: subprocess.Popen[str]
    page: str
    grpc_address: str

    def get(self, path: str) -> tuple[int, bytes]:
        return request(self.page + path)

    def is_ready(self) -> bool:
        return self.get("readyz")[0] == 200

    def child(self, module: str) -> int:
        """Return the process that runs a program."""
        [process] = self.children(module)
        return process

    def children(self, module: str) -> set[int]:
        """Return the processes that run a program."""
        return {
            process
            for process in descendants(self.parent.pid)
            if any(part.endswith(module.encode()) for part in command_line(process)[:4])
        }


def command_line(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def request(url: str, body: object = None) -> tuple[int, bytes]:
    """Return the status and body of the answer; status 0 if there is none."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(message, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read()
    except OSError:
        return 0, b""


def start(folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    ports = ["--http-port", "0", "--grpc-port", "0"]
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    with messages(folder).open("a") as stderr:
        return subprocess.Popen(
            [THUMBQ, "serve", "--data-dir", folder, *ports, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # A terminal of whoever runs the tests would make SIGHUP the end of it.
            start_new_session=True,
            env=clean | variables,
        )


def messages(folder: Path) -> Path:
    """The file with the standard error of the processes."""
    return folder.with_name("messages")


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Service]:
    with start(folder, **variables) as parent:
        try:
            assert parent.stdout
            output = parent.stdout.readline() + parent.stdout.readline()
            addresses = re.search(r"(https?://\S+/)\n.*gRPC\s+(\S+)", output)
            assert addresses, output + messages(folder).read_text()
            yield Service(parent, addresses[1], addresses[2])
        finally:
            processes = descendants(parent.pid)
            parent.terminate()
            parent.wait()
            wait_for_end(processes)


@contextmanager
def data_folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="thumbq-test-"))
    yield base / "data"
    shutil.rmtree(base)


def enqueue(service: Service, model: int) -> int:
    status, body = request(service.page + "api/thumbnail-jobs", {"modelId": model, "modelHash": MODEL_HASH})
    assert status == 200, body
    return int(json.loads(body)["jobId"])


def is_enqueued(service: Service, model: int) -> bool:
    status, _ = request(f"{service.page}api/thumbnail-jobs", {"modelId": model, "modelHash": MODEL_HASH})
    return status in {200, 201}
