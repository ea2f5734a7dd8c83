"""The embedded PostgreSQL moves to a new folder by way of a dump, and another major version is refused."""

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import asyncpg
import grpc
import pytest

from tests.processes import command_line, descendants, wait_for_end, wait_until
from tests.store.postgres.embedded_owner import execute, running_owner
from tests.support.service.served import THUMBQ, enqueue, messages, request, serving, start
from thumbq.v1.notification_pb2 import SubscribeRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_launcher.backup import BackupFailed, dump, restore
from thumbq_launcher.postgres.embedded import ORDERLY, EmbeddedPostgres

pytestmark = pytest.mark.timeout(600)

SLOW_TO_RESTORE = [
    """
    CREATE FUNCTION slow(number int) RETURNS bool LANGUAGE sql AS $$
        SELECT CASE current_setting('application_name') WHEN 'pg_restore' THEN pg_sleep(600) IS NOT NULL ELSE true END
    $$
    """,
    "CREATE TABLE slow (number int CHECK (slow(number)))",
    "INSERT INTO slow VALUES (1)",
]


def db(folder, *arguments, **variables):
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    command = [THUMBQ, "db", *arguments, "--data-dir", folder]
    ended = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def kill_while_it_runs(program, folder, *arguments):
    """Kill a `thumbq db` as soon as it runs a program of PostgreSQL; return the process of that program."""
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    with subprocess.Popen([THUMBQ, "db", *arguments, "--data-dir", folder], env=clean) as command:

        def running():
            path = f"/{program}\0".encode()
            return [process for process in descendants(command.pid) if path in command_line(process)]

        try:
            wait_until(running, f"{program} runs")
            [process] = running()
        finally:
            command.kill()
    return process


def first_answer(service, cursor):
    with grpc.insecure_channel(service.grpc_address) as channel:
        stream = NotificationServiceStub(channel).Subscribe(SubscribeRequest(after=cursor), timeout=60)
        answer = next(iter(stream))
        stream.cancel()
        return answer


def test_a_dump_of_a_running_queue_is_restored_into_a_new_folder_and_subscribers_are_reset(folder):
    file, restored = folder.with_name("thumbq.dump"), folder.with_name("restored")
    with serving(folder) as service:
        ids = [enqueue(service, model) for model in (1, 2, 3)]
        assert db(folder, "dump", str(file))[0] == 0
        enqueue(service, 4)  # after the dump
        cursor = json.loads(service.get("api/notifications/cursor")[1])["cursor"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, said = db(folder, "restore", str(file))
    assert (code, "has a database already" in said) == (1, True)
    code, said = db(restored, "restore", str(file))
    assert (code, f"--data-dir {restored}" in said) == (0, True)
    with serving(restored) as service:
        found = json.loads(service.get("api/thumbnail-jobs")[1])["jobs"]
        assert sorted(job["id"] for job in found) == sorted(ids)
        assert first_answer(service, cursor).reset
        _, body = request(f"{service.page}api/thumbnail-jobs/dequeue", {"workerId": "w1"})
        assert json.loads(body)["id"] in ids


def test_a_folder_that_is_not_in_use_is_dumped_and_a_broken_file_leaves_nothing(folder):
    with serving(folder) as service:
        enqueue(service, 1)
    file, broken = folder.with_name("thumbq.dump"), folder.with_name("broken.dump")
    assert db(folder, "dump", str(file))[0] == 0
    code, said = db(folder, "dump", str(file))
    assert (code, said.endswith("exists already: choose another name.\n")) == (1, True)
    nowhere = folder.with_name("nowhere") / "thumbq.dump"
    assert db(folder, "dump", str(nowhere)) == (1, f"thumbq: {nowhere} cannot be written: No such file or directory.\n")
    broken.write_bytes(file.read_bytes()[:-200])
    new = folder.with_name("new")
    code, said = db(new, "restore", str(broken))
    assert (code, "pg_restore has failed" in said) == (1, True)
    assert not (new / "postgres").exists()
    assert db(new, "restore", str(file))[0] == 0


def test_a_restore_has_its_folder_from_its_first_look_to_the_end(folder):
    answers = []

    class Wanted(EmbeddedPostgres):
        """Another process wants the folder just before PostgreSQL starts there, and after it has ended."""

        def start(self, seconds=60.0):
            self._ask()
            return super().start(seconds)

        def stop(self, signals=ORDERLY):
            super().stop(signals)
            self._ask()

        def _ask(self):
            with running_owner(self.data_dir) as (_, said):
                answers.append(said)

    broken = folder.with_name("broken.dump")
    broken.write_bytes(b"no dump")
    with pytest.raises(BackupFailed, match="pg_restore has failed"):
        restore(Wanted(folder), broken)
    assert answers
    assert all(f"in use by another thumbq (process {os.getpid()})" in said for said in answers)
    assert not (folder / "postgres").exists()
    with EmbeddedPostgres(folder):
        assert (folder / "postgres").exists()


async def test_a_restore_that_is_killed_leaves_no_database_and_can_be_run_again(folder):
    file, slow, new = (folder.with_name(name) for name in ("thumbq.dump", "slow.dump", "new"))
    with serving(folder) as service:
        job = enqueue(service, 1)
        assert db(folder, "dump", str(file))[0] == 0
        for statement in SLOW_TO_RESTORE:
            await execute(EmbeddedPostgres(folder).dsn, statement)
        assert db(folder, "dump", str(slow))[0] == 0
    kill_while_it_runs("pg_restore", new, "restore", str(slow))
    assert not (new / "postgres").exists()
    with start(new) as parent:
        assert parent.wait() == 1
    assert "is of an unfinished `thumbq db restore`: run it again" in messages(new).read_text()
    assert db(new, "restore", str(file))[0] == 0
    with serving(new) as service:
        assert service.get(f"api/thumbnail-jobs/{job}")[0] == 200


async def test_a_dump_that_is_killed_leaves_no_file_under_its_name_and_can_be_run_again(folder):
    file = folder.with_name("thumbq.dump")
    with serving(folder):
        dsn = EmbeddedPostgres(folder).dsn
        await execute(dsn, "CREATE TABLE locked ()")
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute("LOCK TABLE locked")
            process = kill_while_it_runs("pg_dump", folder, "dump", str(file))
            assert not file.exists()
        await connection.close()
        wait_for_end({process})
        assert db(folder, "dump", str(file))[0] == 0
    assert db(folder.with_name("restored"), "restore", str(file))[0] == 0


def test_a_dump_gets_its_name_where_the_file_system_has_no_hard_links(folder, monkeypatch):
    with EmbeddedPostgres(folder):
        pass

    def refused(*_arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    file = folder.with_name("thumbq.dump")
    dump(EmbeddedPostgres(folder), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().startswith(b"PGDMP")
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["data", "thumbq.dump"]


def test_a_cluster_of_another_major_version_is_refused_with_the_way_out(folder):
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text("99\n")
    for command in (["serve"], ["db", "dump", folder.with_name("new.dump")]):
        ended = subprocess.run(
            [THUMBQ, *command, "--data-dir", folder], capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 1
        assert "was made by PostgreSQL 99, which is not installed here: install it" in ended.stderr
        assert "`thumbq db dump`, and `thumbq db restore` here." in ended.stderr


@pytest.mark.parametrize("verb", ["dump", "restore"])
def test_a_folder_whose_name_is_no_text_is_refused(folder, tmp_path, verb):
    file = tmp_path / "thumbq.dump"
    if verb == "restore":
        file.touch()
    code, output = db(os.fsencode(folder) + b"/\xff", verb, str(file))
    assert code == 1
    assert output.endswith(" is not UTF-8: choose or rename a folder.\n")
    assert output.count("\n") == 1


def test_a_database_of_ones_own_has_its_own_programs(folder):
    code, said = db(folder, "dump", "x.dump", DATABASE_URL="postgresql://a/b")
    assert code == 1
    assert said.startswith("thumbq: DATABASE_URL names a PostgreSQL of your own: use its pg_dump")
