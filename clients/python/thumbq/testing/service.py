"""Runs `thumbq serve` in a temporary folder, on free ports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ADDRESSES = re.compile(r"(https?://\S+/)\n.*gRPC\s+(\S+)")
# Seconds for the service to end in order.
_END_LIMIT = 20.0


class PrivateService(NamedTuple):
    """A running service: `address` for the clients (gRPC), `url` for pages and JSON, `thumbnails` for the pictures."""

    address: str
    url: str
    thumbnails: Path


@contextmanager
def private_service(settings: Mapping[str, str] | None = None) -> Iterator[PrivateService]:
    """Run a service until the block ends, with a database of its own. It needs the extras server, gateway, embedded.

    `settings` are variables of its environment, such as {"THUMBQ_CORS_ORIGINS": "*"}.
    """
    folder = Path(tempfile.mkdtemp(prefix="thumbq-testing-"))
    try:
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "thumbq_launcher"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_variables(folder / "data") | dict(settings or {}),
            )
        with process:
            try:
                yield _started(process, folder)
            finally:
                _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _variables(data: Path) -> dict[str, str]:
    """Return the environment without what names another database or another service."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("THUMBQ_") and "DATABASE_URL" not in name and name != "PORT"
    }
    return kept | {"THUMBQ_DATA_DIR": str(data), "THUMBQ_HTTP_PORT": "0", "THUMBQ_GRPC_PORT": "0"}


def _started(process: subprocess.Popen[str], folder: Path) -> PrivateService:
    """Return what the service prints once it is ready."""
    assert process.stdout
    printed = process.stdout.readline() + process.stdout.readline()
    found = _ADDRESSES.search(printed)
    if not found:
        raise RuntimeError(f"thumbq did not start: {printed}{(folder / 'log').read_text()}")
    return PrivateService(address=found[2], url=found[1], thumbnails=folder / "data" / "thumbnails")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
