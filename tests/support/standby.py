"""Real copies of a PostgreSQL: of its data folder, and a standby that follows it."""

import shutil
import subprocess
from pathlib import Path

from tests.support.waiting import eventually
from thumbq_launcher.postgres.embedded import AT_ONCE, EmbeddedPostgres


async def launched(postgres: EmbeddedPostgres) -> None:
    """Start PostgreSQL without blocking the event loop, on which the server runs too."""
    postgres.launch()

    async def ready() -> bool:
        return postgres.ready()

    await eventually(ready, timeout=30)


def copy_cluster(source: Path, target: Path) -> None:
    """Copy the folder of a PostgreSQL that does not run, with its owners and modes."""
    subprocess.run(["cp", "-a", source, target], check=True)


class FolderBackup:
    """A copy of the data folder that is put back in its place. The copy has the whole identity of the original."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.dsn = postgres.dsn
        self._postgres = postgres
        self._copy = postgres.data_dir / "copy"

    async def take(self) -> None:
        self._postgres.stop()
        copy_cluster(self._postgres.cluster, self._copy)
        await launched(self._postgres)

    async def restore(self) -> None:
        self._postgres.stop(AT_ONCE)
        shutil.rmtree(self._postgres.cluster)
        self._copy.rename(self._postgres.cluster)
        await launched(self._postgres)
