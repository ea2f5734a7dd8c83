"""The log of a whole service, as an operator reads it: JSON lines, and a level that changes while it runs."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import wait_until
from tests.support.postgres.made_data import copy_data
from tests.support.service.served import THUMBQ, Service, data_folder, enqueue, messages, request, serving, start

Line = dict[str, Any]


def lines(path: Path) -> list[Line]:
    # PostgreSQL speaks for itself, and the last line may be half written.
    return [json.loads(line) for line in path.read_text().split("\n")[:-1] if line.startswith("{")]


def wait_for(path: Path, event: str, **fields: object) -> Line:
    found: list[Line] = []

    def came() -> bool:
        wanted = {"event": event, **fields}
        found[:] = [line for line in lines(path) if wanted.items() <= line.items()]
        return bool(found)

    wait_until(came, f"{event} with {fields} in {path}")
    return found[0]


@contextmanager
def rendering(service: Service, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run `thumbq worker` without any models; yield it and its log."""
    log = folder.with_name("worker")
    options: list[str | Path] = [
        "--models",
        folder,
        "--thumbnail-root",
        folder,
        "--server",
        service.grpc_address,
        "--concurrency",
        "1",
    ]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [THUMBQ, "worker", *options],
            stderr=stderr,
            start_new_session=True,
            env=os.environ | {"THUMBQ_LOG_FORMAT": "json"},
        ) as worker,
    ):
        try:
            yield worker, log
        finally:
            worker.terminate()
            worker.wait()


def test_a_hang_up_while_it_starts_ends_nothing() -> None:
    with data_folder() as folder, start(folder) as parent:
        assert parent.stdout
        try:
            wait_until(lambda: Service(parent, "", "").children("thumbq_server"), "a server that is starting")
            parent.send_signal(signal.SIGHUP)
            assert "page" in parent.stdout.readline(), messages(folder).read_text()
        finally:
            parent.terminate()
        assert parent.wait() == 0


def test_jobs_are_named_while_debug_is_on_and_every_line_is_an_object(made_data: Path) -> None:
    with (
        data_folder() as folder,
        serving(copy_data(made_data, folder), THUMBQ_LOG_FORMAT="json", THUMBQ_LOG_LEVEL="warning") as service,
    ):
        log = messages(folder)
        service.parent.send_signal(signal.SIGHUP)
        assert {wait_for(log, "log.level", program=name)["least"] for name in ("server", "gateway")} == {"debug"}

        job = enqueue(service, 7)
        assert wait_for(log, "job.enqueued", job_id=job)["model_id"] == 7
        with rendering(service, folder) as (worker, worker_log):
            failed = wait_for(worker_log, "job.failed", job_id=job)
            assert (failed["program"], failed["model_id"]) == ("worker", 7)
            assert wait_for(log, "job.claimed", job_id=job)["attempt"] == 1
            assert wait_for(log, "job.failed", job_id=job)["error"] in failed["message"]
            worker.send_signal(signal.SIGHUP)
            assert wait_for(worker_log, "log.level")["least"] == "debug"

        service.parent.send_signal(signal.SIGHUP)
        for program in ("server", "gateway"):
            wait_for(log, "log.level", program=program, least="warning")
        job = enqueue(service, 8)
        assert request(f"{service.page}api/thumbnail-jobs/{job}")[0] == 200
        assert not [line for line in lines(log) if line.get("job_id") == job]


def test_a_program_that_is_started_again_logs_at_the_level_of_the_others(made_data: Path) -> None:
    with data_folder() as folder, serving(copy_data(made_data, folder), THUMBQ_LOG_FORMAT="json") as service:
        log = messages(folder)
        service.parent.send_signal(signal.SIGHUP)
        for program in ("server", "gateway"):
            wait_for(log, "log.level", program=program, least="debug")
        os.kill(service.child("thumbq_gateway"), signal.SIGKILL)
        turned_on = {"event": "log.level", "program": "gateway", "least": "debug"}.items()
        wait_until(lambda: sum(turned_on <= line.items() for line in lines(log)) == 2, "debug in the second gateway")

        service.parent.send_signal(signal.SIGHUP)
        for program in ("server", "gateway"):
            wait_for(log, "log.level", program=program, least="info")


@pytest.mark.parametrize("program", ["serve", "server", "gateway"])
def test_a_wrong_level_is_one_sentence(program: str, tmp_path: Path) -> None:
    variables = {"THUMBQ_LOG_LEVEL": "loud", "THUMBQ_DATA_DIR": str(tmp_path)}
    ended = subprocess.run([THUMBQ, program], env=os.environ | variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (f"thumbq {program}: THUMBQ_LOG_LEVEL must be debug, info, warning or error, not 'loud'.\n")
