"""Another process that owns an embedded PostgreSQL, for the tests that end or restrict it."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg

OWNER = """
import sys
from pathlib import Path
from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

try:
    with EmbeddedPostgres(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        sys.stdin.read()
except EmbeddedPostgresError as problem:
    print(problem, flush=True)
"""


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A data folder, not made yet, that every user can reach."""
    base = Path(tempfile.mkdtemp(prefix="thumbq-test-"))
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base)


@contextmanager
def running_owner(folder: Path, *, through: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that owns an embedded PostgreSQL, and the one line it prints: its DSN, or why not."""
    command = [*through, sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        try:
            yield owner, owner.stdout.readline().strip()
        finally:
            if owner.stdin:
                owner.stdin.close()


async def execute(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
