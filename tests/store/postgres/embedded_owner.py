"""An embedded PostgreSQL in another process, for the tests that end or restrict its owner."""

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

postgres = EmbeddedPostgres(Path(sys.argv[1]))
try:
    # A machine that is busy with other tests may need longer than the default.
    print(postgres.start(seconds=240), flush=True)
    sys.stdin.read()
except EmbeddedPostgresError as problem:
    print(problem, flush=True)
finally:
    postgres.stop()
"""


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """Yield the path of a data folder that every user can reach; the folder does not exist yet."""
    base = Path(tempfile.mkdtemp(prefix="thumbq-test-"))
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base)


@contextmanager
def running_owner(folder: Path, *, through: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run another process with an embedded PostgreSQL; yield it and the line that it prints: its DSN or its error."""
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
