"""The embedded PostgreSQL moves to a new folder by way of a dump, and another major version is refused."""

import json
import os
import stat
import subprocess

import grpc
import pytest

from tests.store.postgres.embedded_owner import running_owner
from tests.support.service.served import THUMBQ, data_folder, enqueue, request, serving
from thumbq.v1.notification_pb2 import SubscribeRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_launcher.backup import BackupFailed, restore
from thumbq_launcher.postgres.embedded import ORDERLY, EmbeddedPostgres

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder():
    with data_folder() as folder:
        yield folder


def db(folder, *arguments, **variables):
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    command = [THUMBQ, "db", *arguments, "--data-dir", folder]
    ended = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


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


def test_a_database_of_ones_own_has_its_own_programs(folder):
    code, said = db(folder, "dump", "x.dump", DATABASE_URL="postgresql://a/b")
    assert code == 1
    assert said.startswith("thumbq: DATABASE_URL names a PostgreSQL of your own: use its pg_dump")
