"""A private PostgreSQL in a data folder, for users without a PostgreSQL of their own.

The data folder holds `postgres/` (the cluster and its socket), `postgres.log` and `lock`. PostgreSQL
listens on a unix socket only, and it ends with the process that started it.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from thumbq_launcher import child
from thumbq_launcher.postgres.cluster import (
    DATABASE,
    EmbeddedPostgresError,
    give_cluster,
    identity_for,
    make_cluster,
    make_private_dir,
    postgres_environment,
    programs_for,
)
from thumbq_launcher.postgres.data_folder import take_data_folder, unusable
from thumbq_launcher.postgres.processes import StopSignals, end_postgres, left_postmaster, take_cluster
from thumbq_launcher.postgres.programs import PostgresPrograms
from thumbq_runtime.files.private import open_private

__all__ = ["AT_ONCE", "ORDERLY", "EmbeddedPostgres", "EmbeddedPostgresError"]

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "cluster_name": "thumbq",
    "shared_buffers": "256MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "autovacuum_naptime": "10s",
    "jit": "off",
    # Parallel plans need /dev/shm, which is small in containers, and a queue gains nothing from them.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# SIGINT is the fast shutdown: PostgreSQL ends its sessions and writes a checkpoint, so the next start has
# nothing to recover. (SIGTERM would wait for the sessions to end by themselves.) SIGQUIT is the immediate
# shutdown without a checkpoint.
ORDERLY: StopSignals = {signal.SIGINT: 20.0, signal.SIGQUIT: 10.0, signal.SIGKILL: 10.0}
AT_ONCE: StopSignals = {signal.SIGQUIT: 10.0, signal.SIGKILL: 10.0}
_LONGEST_SOCKET_PATH = 107
_LARGEST_LOG = 10_000_000


class EmbeddedPostgres:
    """One PostgreSQL that lives and dies with this process, which has the data folder for itself.

    Start it from the main thread: the kernel ends PostgreSQL when the thread that started it ends.
    """

    def __init__(self, data_dir: Path, *, max_connections: int = 100) -> None:
        self.data_dir = Path(os.path.realpath(data_dir))
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self.max_connections = max_connections
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._log_start = 0

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket: the cluster's own, unless that path does not fit an address."""
        path = os.fsencode(self.cluster / ".s.PGSQL.5432")
        if len(path) <= _LONGEST_SOCKET_PATH and b"," not in path:
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"thumbq-{name}"

    @property
    def dsn(self) -> str:
        """The address of the database for asyncpg, SQLAlchemy and libpq."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self.socket_dir))}&port=5432"

    def start(self, seconds: float = 60.0) -> str:
        """Start PostgreSQL, in a new cluster if there is none, and return the DSN once it answers.

        Raises EmbeddedPostgresError if that fails or takes longer than `seconds`.
        """
        try:
            self.launch()
            deadline = time.monotonic() + seconds
            while not self.ready():
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"PostgreSQL did not answer within {seconds:g} s: see {self.log}.")
                time.sleep(0.01)
        except BaseException:
            self.stop()
            raise
        return self.dsn

    def launch(self) -> None:
        """Take the data folder and start PostgreSQL, without waiting until it answers. Raises EmbeddedPostgresError."""
        if sys.platform != "linux":
            raise EmbeddedPostgresError("The embedded PostgreSQL needs Linux: set DATABASE_URL to a server instead.")
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedPostgresError("The embedded PostgreSQL must be started from the main thread.")
        if len(os.fsencode(self.socket_dir / ".s.PGSQL.5432")) > _LONGEST_SOCKET_PATH:
            raise EmbeddedPostgresError(
                f"The paths of the data folder {self.data_dir} and of TMPDIR are both too long for a socket: choose a"
                " shorter one."
            )
        try:
            self._take_folder()
            programs = programs_for(self.cluster)
            identity = identity_for(self.cluster, programs)
            if not self.cluster.exists():
                make_cluster(self.cluster, programs, identity)
            held = self._take_cluster()
            try:
                give_cluster(self.cluster, identity)
                self._make_socket_dir(identity)
                self._spawn(programs, identity, held)
            finally:
                os.close(held)
        except OSError as problem:
            raise unusable(self.data_dir, problem) from problem

    @contextmanager
    def held_folder(self) -> Iterator[None]:
        """Have the data folder until the end of the block, also while PostgreSQL does not run there."""
        # The lock lasts until both descriptors are closed.
        held = os.dup(self._take_folder())
        try:
            yield
        finally:
            self.stop()
            os.close(held)

    def ready(self) -> bool:
        """Return whether PostgreSQL accepts connections. Raises EmbeddedPostgresError when it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_words()}")
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def stop(self, signals: StopSignals = ORDERLY) -> None:
        """Stop PostgreSQL, ORDERLY or AT_ONCE, and release the data folder."""
        if self.process is not None:
            running = self.process.poll() is None
            try:
                end_postgres(self.cluster, self.process.pid if running else None, signals)
            finally:
                # end_postgres may have been interrupted, or the folder removed.
                self.process.kill()
                self.process.wait()
                self.process = None
            if self.socket_dir != self.cluster:
                shutil.rmtree(self.socket_dir, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _take_folder(self) -> int:
        if self._lock is None:
            self._lock = take_data_folder(self.data_dir)
        return self._lock

    def _take_cluster(self) -> int:
        """End a PostgreSQL that still runs in the folder: the folder is ours, so it has lost its parent."""
        end_postgres(self.cluster, left_postmaster(self.cluster), ORDERLY)
        held = take_cluster(self.cluster)
        if held is None:
            raise EmbeddedPostgresError(f"The PostgreSQL that was left running in {self.cluster} does not end.")
        if self.process is not None:
            self.process.wait()
        # They name a dead process, or another one that has its number now, and PostgreSQL would refuse to start.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        return held

    def _make_socket_dir(self, identity: str) -> None:
        if self.socket_dir == self.cluster:
            return
        try:
            make_private_dir(self.socket_dir, identity)
        except FileExistsError:
            found = self.socket_dir.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.cluster.stat().st_uid or found.st_mode & 0o077:
                raise EmbeddedPostgresError(
                    f"The path of the data folder is too long for a socket, and {self.socket_dir}, used in"
                    " its place, is not a private folder of this user: remove it, or set TMPDIR to another."
                ) from None

    def _spawn(self, programs: PostgresPrograms, identity: str, held: int) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.old"))
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        quoted = str(self.socket_dir).replace('"', '""')
        own = {"max_connections": str(self.max_connections), "unix_socket_directories": f'"{quoted}"'}
        settings = {**SETTINGS, **own}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # The fast shutdown at the parent's death too: it takes less time than the recovery that it saves.
        # If it hangs, the next start ends the processes that are left.
        command = child.ending_with_parent(
            [programs.postgres, "-D", str(self.cluster), *options],
            signal.SIGINT,
            identity=identity,
            directory=self.data_dir,
        )
        with os.fdopen(open_private(self.log, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK), "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=postgres_environment(),
                pass_fds=[held],
                start_new_session=True,
            )

    def _last_words(self) -> str:
        with self.log.open(errors="replace") as log:
            log.seek(self._log_start)
            lines = log.read().strip().splitlines() or ["it said nothing"]
        fatal = [line for line in lines if "FATAL" in line]
        return f"{(fatal or lines)[-1]} (see {self.log})"
