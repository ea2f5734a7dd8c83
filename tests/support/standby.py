"""Real copies of a PostgreSQL: of its data folder, and a standby that follows it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from tests.support.waiting import eventually
from thumbq_launcher.postgres.cluster import DATABASE
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


class PromotedStandby:
    """A standby that follows by streaming replication, and is promoted without the last commits of its primary."""

    repeats_numbers = False  # a primary that is lost leaves a gap in its sequences

    def __init__(self, folder: Path) -> None:
        self._primary = EmbeddedPostgres(folder / "primary")
        self._standby = EmbeddedPostgres(folder / "standby")
        hosts = ",".join(f"{quote(str(each.socket_dir), safe='')}:5432" for each in (self._primary, self._standby))
        self.dsn = f"postgresql://postgres@{hosts}/{DATABASE}"

    async def start(self) -> None:
        await launched(self._primary)
        self._primary.stop()
        self._standby.data_dir.mkdir()
        copy_cluster(self._primary.cluster, self._standby.cluster)
        (self._standby.cluster / "standby.signal").touch()
        with (self._standby.cluster / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'host={self._primary.socket_dir} user=postgres'\n")
        await launched(self._primary)
        self._standby.launch()

    async def take(self) -> None:
        """Let the standby have what is committed so far, and nothing later."""
        target = await self._ask(self._primary, "SELECT pg_current_wal_flush_lsn()::text")

        async def replayed() -> bool:
            try:
                statement = f"SELECT pg_last_wal_replay_lsn() >= '{target}' AND pg_is_in_recovery()"
                return bool(await self._ask(self._standby, statement))
            except (OSError, asyncpg.CannotConnectNowError):
                return False  # it still starts

        await eventually(replayed, timeout=30)
        self._standby.stop(AT_ONCE)

    async def restore(self) -> None:
        """Lose the primary, and promote the standby."""
        self._primary.stop(AT_ONCE)
        self._standby.launch()

        async def promoted() -> bool:
            try:
                return bool(await self._ask(self._standby, "SELECT pg_promote()"))
            except (OSError, asyncpg.CannotConnectNowError):
                return False

        await eventually(promoted, timeout=30)

    def stop(self) -> None:
        self._primary.stop()
        self._standby.stop()

    @staticmethod
    async def _ask(postgres: EmbeddedPostgres, statement: str) -> Any:
        connection = await asyncpg.connect(postgres.dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


class FolderBackup:
    """A copy of the data folder that is put back in its place. The copy has the whole identity of the original."""

    repeats_numbers = True

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder)
        self.dsn = self._postgres.dsn
        self._copy = folder / "copy"

    async def start(self) -> None:
        await launched(self._postgres)

    def stop(self) -> None:
        self._postgres.stop()

    async def take(self) -> None:
        self._postgres.stop()
        copy_cluster(self._postgres.cluster, self._copy)
        await launched(self._postgres)

    async def restore(self) -> None:
        self._postgres.stop(AT_ONCE)
        shutil.rmtree(self._postgres.cluster)
        self._copy.rename(self._postgres.cluster)
        await launched(self._postgres)
