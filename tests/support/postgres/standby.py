"""Real copies of a PostgreSQL: of its data folder, and a standby that follows it."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
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


class Pair:
    """A primary, and a standby that follows it by streaming replication. The address names both."""

    def __init__(self, folder: Path) -> None:
        self.primary = EmbeddedPostgres(folder / "primary")
        self.standby = EmbeddedPostgres(folder / "standby")
        hosts = ",".join(f"{quote(str(each.socket_dir), safe='')}:5432" for each in (self.primary, self.standby))
        self.dsn = f"postgresql://postgres@{hosts}/{DATABASE}"

    async def __aenter__(self) -> Self:
        """Start the primary, copy it and start the copy, which may not answer yet."""
        try:
            await self._start()
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def _start(self) -> None:
        await launched(self.primary)
        self.primary.stop()
        self.standby.data_dir.mkdir()
        copy_cluster(self.primary.cluster, self.standby.cluster)
        follow(self.standby, self.primary)
        await launched(self.primary)
        self.standby.launch()

    def _stop(self) -> None:
        self.primary.stop()
        self.standby.stop()


def follow(standby: EmbeddedPostgres, primary: EmbeddedPostgres) -> None:
    """Let a PostgreSQL that does not run be a standby of another one at its next start."""
    (standby.cluster / "standby.signal").touch()
    with (standby.cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = 'host={primary.socket_dir} user=postgres'\n")


async def ask(postgres: EmbeddedPostgres, statement: str) -> Any:
    """Return the first value that a statement has on one of the two. A superuser asks."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def promote(standby: EmbeddedPostgres) -> None:
    """Promote a standby, which may still be starting."""

    async def promoted() -> bool:
        try:
            return bool(await ask(standby, "SELECT pg_promote()"))
        except (OSError, asyncpg.CannotConnectNowError):
            return False

    await eventually(promoted, timeout=60)


class PromotedStandby(Pair):
    """A standby that is promoted without the last commits of its primary."""

    repeats_numbers = False  # a primary that is lost leaves a gap in its sequences

    async def take(self) -> None:
        """Let the standby have what is committed so far, and nothing later."""
        target = await ask(self.primary, "SELECT pg_current_wal_flush_lsn()::text")

        async def replayed() -> bool:
            try:
                statement = f"SELECT pg_last_wal_replay_lsn() >= '{target}' AND pg_is_in_recovery()"
                return bool(await ask(self.standby, statement))
            except (OSError, asyncpg.CannotConnectNowError):
                return False  # it still starts

        await eventually(replayed, timeout=30)
        self.standby.stop(AT_ONCE)

    async def restore(self) -> None:
        """Lose the primary, and promote the standby."""
        self.primary.stop(AT_ONCE)
        self.standby.launch()
        await promote(self.standby)


class FolderBackup:
    """A copy of the data folder that is put back in its place. The copy has the whole identity of the original."""

    repeats_numbers = True

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder)
        self.dsn = self._postgres.dsn
        self._copy = folder / "copy"

    async def __aenter__(self) -> Self:
        try:
            await launched(self._postgres)
        except BaseException:
            self._postgres.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
