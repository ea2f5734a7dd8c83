"""`python -m thumbq_launcher.backup dump|restore FILE`: the embedded PostgreSQL, as a file of pg_dump.

The file fits any later PostgreSQL: so the database moves to another major version.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thumbq_launcher.console import inform, warn
from thumbq_launcher.postgres.cluster import RESTORING, postgres_environment, programs_for
from thumbq_launcher.postgres.embedded import AT_ONCE, EmbeddedPostgres, EmbeddedPostgresError
from thumbq_launcher.postgres.processes import end_postgres, left_postmaster
from thumbq_launcher.settings import plain
from thumbq_runtime.files.private import sync_folder
from thumbq_runtime.logs.standard_streams import protect_standard_streams
from thumbq_runtime.process.refusal import EXIT_INTERRUPTED
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_runtime.settings.shared import DATA_DIR


class BackupFailed(Exception):
    """Says in one sentence why the file or the database could not be made."""


def dump(postgres: EmbeddedPostgres, file: Path) -> None:
    """Write the database into a new file. Raises BackupFailed, EmbeddedPostgresError."""
    if not postgres.cluster.exists():
        raise BackupFailed(f"{postgres.data_dir} has no database: name another folder with --data-dir.")
    if os.path.lexists(file):
        raise _exists(file)
    # A dump that is killed leaves no file that passes for a whole one.
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".unfinished", dir=file.parent)
    except OSError as problem:
        raise BackupFailed(f"{file} cannot be written: {problem.strerror}.") from problem
    os.close(descriptor)
    unfinished = Path(name)
    try:
        with _running(postgres):
            _run(postgres, "pg_dump", "--format=custom", "--no-owner", f"--file={unfinished}", postgres.dsn)
        _move(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(file.parent)
    inform(f"{postgres.data_dir} is in {file}")


def restore(postgres: EmbeddedPostgres, file: Path) -> None:
    """Make the database of a folder that has none. Raises BackupFailed, EmbeddedPostgresError."""
    if not file.is_file():
        raise BackupFailed(f"{file} is not there.")
    # The folder removed below must not belong to another process.
    with postgres.held_folder():
        if postgres.cluster.exists():
            raise BackupFailed(f"{postgres.data_dir} has a database already: name a new folder with --data-dir.")
        with _unfinished(postgres), postgres:
            options = ("--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={postgres.dsn}")
            _run(postgres, "pg_restore", *options, str(file))
    inform(f"{file} is restored: start it with thumbq serve --data-dir {postgres.data_dir}")


def _move(unfinished: Path, file: Path) -> None:
    """Give a whole file its name, which must be new."""
    try:
        try:
            file.hardlink_to(unfinished)
        except FileExistsError:
            raise
        except OSError:  # some file systems have no hard links
            file.touch(mode=0o600, exist_ok=False)
            unfinished.replace(file)
    except FileExistsError:
        raise _exists(file) from None


def _exists(file: Path) -> BackupFailed:
    return BackupFailed(f"{file} exists already: choose another name.")


@contextlib.contextmanager
def _unfinished(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Keep the new cluster under another name until the block has filled it: a part must not pass for the whole."""
    final, unfinished = postgres.cluster, postgres.cluster.with_name(RESTORING)
    postgres.cluster = unfinished
    try:
        # A restore that was killed may have left one, whose PostgreSQL is still ending.
        end_postgres(unfinished, left_postmaster(unfinished), AT_ONCE)
        if unfinished.exists():
            shutil.rmtree(unfinished)
        yield
        unfinished.rename(final)
        sync_folder(final.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        postgres.cluster = final


@contextlib.contextmanager
def _running(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Run PostgreSQL for the block, unless a `thumbq serve` has the folder and runs it."""
    if (postgres.socket_dir / ".s.PGSQL.5432").exists() and _answers(postgres):
        yield
        return
    with postgres:
        yield


def _answers(postgres: EmbeddedPostgres) -> bool:
    program = programs_for(postgres.cluster).folder / "pg_isready"
    return not subprocess.run([program, "-d", postgres.dsn], check=False, capture_output=True).returncode


def _run(postgres: EmbeddedPostgres, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; what it makes is for its owner alone."""
    program = programs_for(postgres.cluster).folder / name
    if not program.exists():
        raise BackupFailed(f"{program} is missing: install the programs of the PostgreSQL clients.")
    ended = subprocess.run(
        [program, *arguments], check=False, capture_output=True, text=True, env=postgres_environment(), umask=0o077
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackupFailed(f"{name} has failed: {last}")


def main() -> None:
    """Run the verb in the arguments; exit with 1 and a sentence when that fails."""
    protect_standard_streams()
    verb, file = sys.argv[1:]
    try:
        postgres = EmbeddedPostgres(plain(DATA_DIR.read(os.environ)))
        (dump if verb == "dump" else restore)(postgres, Path(file))
    except (BackupFailed, EmbeddedPostgresError, InvalidSetting, OSError) as problem:
        warn(str(problem))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
