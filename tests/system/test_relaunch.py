"""A program that cannot be started again at once: the others go on, and the parent tries until it can."""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import wait_until
from tests.support.postgres.made_data import copy_data
from tests.support.service.served import data_folder, messages, serving
from thumbq_launcher.processes import LaunchFailed, Program, ended
from thumbq_runtime.settings.shared import HTTP_PORT


@pytest.fixture
def used(made_data: Path) -> Iterator[Path]:
    with data_folder() as folder:
        yield copy_data(made_data, folder)


@pytest.mark.parametrize(("module", "name"), [("thumbq_gateway", "gateway"), ("/postgres", "database")])
def test_it_waits_for_room_to_start_a_program_again(used: Path, module: str, name: str) -> None:
    with serving(used) as service:
        parent = service.parent.pid
        wait_until(service.is_ready, "/readyz answers 200")
        limits = resource.prlimit(parent, resource.RLIMIT_NOFILE)
        # The parent keeps the files that are open, and opens no other.
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (1, limits[1]))
        os.kill(service.child(module), signal.SIGKILL)
        wait_until(lambda: "The next attempt follows" in messages(used).read_text(), "an attempt has failed")
        resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
        wait_until(service.is_ready, "/readyz answers 200 again")
        said = messages(used).read_text()
        assert f"the {name} was ended by SIGKILL and is started again" in said
        assert "Too many open files" in said
        assert "Traceback" not in said


def test_a_program_may_have_as_many_files_open_as_the_operator_allows(used: Path) -> None:
    """The soft limit is that of a shell; each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        with serving(used) as service:
            for module in ("thumbq_server", "thumbq_gateway"):
                assert resource.prlimit(service.child(module), resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_program_that_cannot_be_started_leaves_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    program = Program("gateway", ["/bin/true"], {}, HTTP_PORT, 0)
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(LaunchFailed, match=r"^The gateway could not be started: No such file or directory\.$"):
        program.begin()
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/true"])


async def test_a_child_is_watched_where_no_thread_can_be_started(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await ended(child) == 0
