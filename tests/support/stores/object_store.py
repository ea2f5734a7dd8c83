"""An object store: rclone, which speaks the protocol of S3 over HTTP and keeps the objects as files."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import wait_until
from tests.support.network.ports import free_port
from thumbq_launcher.child import ending_with_parent

BUCKET = "pictures"
KEY, SECRET = "test-key", "test-secret-7f3a"


class ObjectStore:
    """A store that can be taken away and come back at the same address, with its objects."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / BUCKET).mkdir(parents=True)

    @property
    def address(self) -> str:
        """The address of the bucket, as settings name it."""
        return f"s3://{BUCKET}"

    def variables(self, secret: str = SECRET) -> dict[str, str]:
        """What tells a program how to reach the store."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self._host}:{self._port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
        }

    def objects(self) -> dict[str, bytes]:
        """Return what the bucket holds, by keys."""
        bucket = self._folder / BUCKET
        return {str(path.relative_to(bucket)): path.read_bytes() for path in bucket.rglob("*") if path.is_file()}

    def start(self) -> None:
        """Start, and wait until the store answers."""
        options = ["--addr", f"{self._host}:{self._port}", "--auth-key", f"{KEY},{SECRET}", "--config", ""]
        program = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", *options, str(self._folder)]
        self._process = subprocess.Popen(
            ending_with_parent(program, signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
        )
        wait_until(self._answers, "the object store answers")

    def stop(self) -> None:
        """Take the store away."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_object_store(folder: Path) -> Iterator[ObjectStore]:
    """Run a store until the block ends."""
    store = ObjectStore(folder)
    store.start()
    try:
        yield store
    finally:
        store.stop()
