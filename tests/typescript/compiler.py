"""The compiler of the TypeScript client and its tests."""

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "clients" / "typescript"
OLDEST_NODE = 20


def compiled() -> Path:
    """Compile, and return the folder of the compiled tests. Skips the test without node or the compiler."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.findall(r"\d+", version)[0]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} is too old; the client is for {OLDEST_NODE} or later")
    compiler = PACKAGE / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        pytest.skip("the TypeScript compiler is not installed (make test installs it where npm is there)")
    (PACKAGE / "build").mkdir(exist_ok=True)
    with (PACKAGE / "build" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run([compiler, "--build", PACKAGE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    return PACKAGE / "build" / "tests"


def sentences_of(name: str) -> list[str]:
    """Return the names of the tests in one file."""
    return re.findall(r'^test\("([^"]+)"', (PACKAGE / "tests" / f"{name}.test.ts").read_text(), re.MULTILINE)
