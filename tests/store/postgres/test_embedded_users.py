"""The user that the embedded PostgreSQL runs as; it is never root, even if root starts it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import command_line, descendants, wait_for_end
from tests.store.postgres.embedded_owner import execute, reachable_folder, running_owner
from thumbq_launcher import child
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_launcher.postgres.programs import installed_programs

# Becomes root in a user namespace that permits no further namespace, then runs the program in its arguments.
WITHOUT_NAMESPACES = """
import ctypes, os, sys
from pathlib import Path

ready, unshared = os.pipe()
mapped, go = os.pipe()
child = os.fork()
if not child:
    ctypes.CDLL(None).unshare(0x10000000)
    os.write(unshared, b"!")
    os.read(mapped, 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execv(sys.argv[1], sys.argv[1:])
os.read(ready, 1)
count = 1 if os.geteuid() else 65536
if os.geteuid():
    Path(f"/proc/{child}/setgroups").write_text("deny")
Path(f"/proc/{child}/uid_map").write_text(f"0 {os.geteuid()} {count}")
Path(f"/proc/{child}/gid_map").write_text(f"0 {os.getegid()} {count}")
os.write(go, b"!")
os.waitpid(child, 0)
"""

# Takes one right from root, by its number, then runs the program in its arguments.
WITHOUT_RIGHT = """
import ctypes, os, sys

ctypes.CDLL(None).prctl(24, int(sys.argv[1]), 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
# Each test makes a cluster, and some make two: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(600)
CAP_DAC_OVERRIDE, CAP_SETUID, CAP_SETPCAP = 1, 7, 8
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as path:
        yield path


def can_run(program: str, identity: str) -> bool:
    trial = child.ending_with_parent([program, "--version"], signal.SIGKILL, identity=identity)
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0


def rights(process: str) -> int:
    """Return the capabilities of a process, one bit for each."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("CapPrm:")[2].split()[0], 16)


def namespaces_permitted() -> bool:
    return can_run("/bin/true", child.NAMESPACE)


def as_root_without_namespaces() -> list[str]:
    """Return the start of a command that runs a program as root without user namespaces, as in a container.

    An ordinary user becomes a root that has no other user to become. Where this machine permits no namespaces,
    the program runs as the present user.
    """
    return [sys.executable, "-c", WITHOUT_NAMESPACES] if namespaces_permitted() else []


def has_another_user() -> bool:
    """Return whether PostgreSQL has a user to run as in that environment."""
    return not (os.geteuid() and namespaces_permitted())


async def test_no_user_is_added_and_no_mode_changed(folder: Path) -> None:
    """Neither if root starts it, as whom PostgreSQL refuses to run."""
    users = Path("/etc/passwd").read_bytes()
    parents = {parent: parent.stat().st_mode for parent in folder.parents}
    with EmbeddedPostgres(folder) as dsn:
        assert await execute(dsn, "SELECT 1") == 1
    assert Path("/etc/passwd").read_bytes() == users
    assert {parent: parent.stat().st_mode for parent in folder.parents} == parents


async def test_it_runs_for_an_ordinary_user(folder: Path) -> None:
    through = list[str]()
    if not os.geteuid():
        candidates = (child.NAMESPACE, str(NOBODY), f"{NOBODY}{child.REACHING_ALL}")
        identity = next(candidate for candidate in candidates if can_run(sys.executable, candidate))
        through = child.ending_with_parent([], signal.SIGKILL, identity=identity)
        if identity != child.NAMESPACE:
            folder.mkdir()
            os.chown(folder, NOBODY, -1)
    with running_owner(folder, through=through) as (_, dsn):
        assert await execute(dsn, "SELECT 1") == 1


@pytest.mark.parametrize("mode", [0o755, 0o700])
async def test_root_without_user_namespaces_becomes_an_ordinary_user_wherever_the_folder_lies(
    folder: Path, mode: int
) -> None:
    folder.parent.chmod(mode)
    with running_owner(folder, through=as_root_without_namespaces()) as (owner, answer):
        if not has_another_user():
            assert "PostgreSQL does not run as root" in answer
            return
        assert answer.startswith("postgresql:"), answer
        assert (folder / "postgres").stat().st_uid == (os.geteuid() or NOBODY)
        assert await execute(answer, "SELECT 1") == 1
        # It keeps at most one right of root, to reach every file.
        assert rights((folder / "postgres/postmaster.pid").read_text().split()[0]) in {0, 1 << CAP_DAC_OVERRIDE}
        processes = descendants(owner.pid) | {owner.pid}
        for process in processes:
            if b"EmbeddedPostgres" in command_line(process):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        wait_for_end(processes)
    assert folder.parent.stat().st_mode & 0o777 == mode


async def test_a_cluster_serves_without_user_namespaces_and_with_them_again(folder: Path) -> None:
    folder.parent.chmod(0o700)
    with EmbeddedPostgres(folder) as dsn:
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    with running_owner(folder, through=as_root_without_namespaces()) as (_, answer):
        if has_another_user():
            assert await execute(answer, "UPDATE kept SET number = 43 RETURNING number") == 43
        else:
            assert "PostgreSQL does not run as root" in answer
    with EmbeddedPostgres(folder) as dsn:
        assert await execute(dsn, "SELECT number FROM kept") == (43 if has_another_user() else 42)


async def test_a_cluster_of_a_user_without_a_name_serves(folder: Path) -> None:
    """Such a cluster was made on another machine, or outside the container."""
    with EmbeddedPostgres(folder) as dsn:
        await execute(dsn, "CREATE TABLE kept AS SELECT 42 AS number")
    if not os.geteuid():
        for path in (folder / "postgres", *(folder / "postgres").rglob("*")):
            os.chown(path, 54321, -1)
    with EmbeddedPostgres(folder) as dsn:
        assert await execute(dsn, "SELECT number FROM kept") == 42


async def test_root_without_user_namespaces_needs_few_rights(folder: Path) -> None:
    """Without CAP_SETPCAP, a folder that an ordinary user can reach is enough."""
    programs = next(installed_programs())
    through = [*as_root_without_namespaces(), sys.executable, "-c", WITHOUT_RIGHT, str(CAP_SETPCAP)]
    with running_owner(folder, through=through) as (_, answer):
        if has_another_user() and can_run(programs.postgres, str(os.geteuid() or NOBODY)):
            assert await execute(answer, "SELECT 1") == 1
        else:
            assert "PostgreSQL does not run as root" in answer


async def test_root_that_may_not_become_another_user_gets_advice(folder: Path) -> None:
    through = [*as_root_without_namespaces(), sys.executable, "-c", WITHOUT_RIGHT, str(CAP_SETUID)]
    with running_owner(folder, through=through) as (_, answer):
        if os.geteuid() and not namespaces_permitted():
            assert await execute(answer, "SELECT 1") == 1
        else:
            assert "PostgreSQL does not run as root" in answer
            assert "choose another data folder" in answer
