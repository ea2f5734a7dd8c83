"""`thumbq serve` as an operator uses it: its addresses, its signals, and its end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.processes import descendants, is_running, wait_for_end, wait_until
from tests.support.databases import database_at

THUMBQ = Path(sys.executable).with_name("thumbq")
MODEL_HASH = "ab" * 32


@dataclass(frozen=True)
class Service:
    """A running `thumbq serve` and the addresses that it printed."""

    parent: subprocess.Popen[str]
    page: str
    grpc_address: str

    def get(self, path: str) -> tuple[int, bytes]:
        return request(self.page + path)

    def is_ready(self) -> bool:
        return self.get("readyz")[0] == 200

    def child(self, module: str) -> int:
        """Return the process that runs a program."""
        [process] = self.children(module)
        return process

    def children(self, module: str) -> set[int]:
        """Return the processes that run a program."""
        return {
            process
            for process in descendants(self.parent.pid)
            if any(part.endswith(module.encode()) for part in command_line(process)[:4])
        }


def command_line(process: int) -> list[bytes]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def request(url: str, body: object = None) -> tuple[int, bytes]:
    """Return the status and body of the answer; status 0 if there is none."""
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(message, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read()
    except OSError:
        return 0, b""


def start(folder: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    ports = ["--http-port", "0", "--grpc-port", "0"]
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    with messages(folder).open("a") as stderr:
        return subprocess.Popen(
            [THUMBQ, "serve", "--data-dir", folder, *ports, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=clean | variables,
        )


def messages(folder: Path) -> Path:
    """The file with the standard error of the processes."""
    return folder.with_name("messages")


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Service]:
    with start(folder, **variables) as parent:
        try:
            assert parent.stdout
            output = parent.stdout.readline() + parent.stdout.readline()
            addresses = re.search(r"(http://\S+/)\n.*gRPC\s+(\S+)", output)
            assert addresses, output + messages(folder).read_text()
            yield Service(parent, addresses[1], addresses[2])
        finally:
            processes = descendants(parent.pid)
            parent.terminate()
            parent.wait()
            wait_for_end(processes)


@contextmanager
def data_folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="thumbq-test-"))
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for the tests that leave it unchanged."""
    with data_folder() as path, serving(path) as running:
        yield running


def enqueue(service: Service, model: int) -> int:
    status, body = request(service.page + "api/thumbnail-jobs", {"modelId": model, "modelHash": MODEL_HASH})
    assert status == 200, body
    return int(json.loads(body)["jobId"])


def is_enqueued(service: Service, model: int) -> bool:
    status, _ = request(f"{service.page}api/thumbnail-jobs", {"modelId": model, "modelHash": MODEL_HASH})
    return status in {200, 201}


def test_it_answers_where_it_says(service: Service) -> None:
    wait_until(service.is_ready, "/readyz answers 200")
    assert service.page.startswith("http://127.0.0.1:")
    with grpc.insecure_channel(service.grpc_address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_ctrl_c_in_a_terminal_is_for_the_parent_alone(service: Service) -> None:
    """A program that received it too would take the SIGTERM of its parent for a second request."""
    groups = {os.getpgid(service.child(name)) for name in ("thumbq_server", "thumbq_gateway", "/postgres")}
    assert os.getpgid(service.parent.pid) not in groups


@pytest.mark.parametrize("module", ["thumbq_server", "thumbq_gateway"])
def test_a_program_that_is_killed_comes_back_at_its_address(service: Service, module: str) -> None:
    wait_until(service.is_ready, "/readyz answers 200")
    killed = service.child(module)
    os.kill(killed, signal.SIGKILL)
    wait_for_end({killed})
    wait_until(service.is_ready, "/readyz answers 200 again")
    assert service.child(module) != killed


def test_when_postgres_is_killed_it_comes_back_and_nothing_is_lost(service: Service) -> None:
    wait_until(service.is_ready, "/readyz answers 200")
    job = enqueue(service, model=41)
    killed = service.child("/postgres")
    os.kill(killed, signal.SIGKILL)
    wait_for_end({killed})
    wait_until(lambda: service.get(f"api/thumbnail-jobs/{job}")[0] == 200, "the job is found again")


def test_a_folder_in_use_is_refused(folder: Path) -> None:
    with serving(folder) as service:
        with start(folder) as second:
            assert second.wait() == 1
        assert f"in use by another thumbq (process {service.parent.pid})" in messages(folder).read_text()
        wait_until(service.is_ready, "the first still answers")


def test_after_sigterm_nothing_is_left_but_the_data(folder: Path) -> None:
    with serving(folder) as service:
        job = enqueue(service, model=42)
        processes = descendants(service.parent.pid)
        service.parent.terminate()
        assert service.parent.wait() == 0
        assert not any(map(is_running, processes))
    assert "database system is shut down" in (folder / "postgres.log").read_text()
    with serving(folder) as service:
        assert service.get(f"api/thumbnail-jobs/{job}")[0] == 200


def test_killing_the_parent_leaves_no_process_and_loses_nothing(folder: Path) -> None:
    with serving(folder) as service:
        job = enqueue(service, model=43)
        processes = descendants(service.parent.pid)
        service.parent.kill()
        wait_for_end(processes)
    with serving(folder) as service:
        assert service.get(f"api/thumbnail-jobs/{job}")[0] == 200


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with serving(folder) as service:
        processes = descendants(service.parent.pid)
        os.kill(service.child("thumbq_server"), signal.SIGSTOP)
        gateway = service.child("thumbq_gateway")
        service.parent.send_signal(signal.SIGINT)
        wait_for_end({gateway})
        service.parent.send_signal(signal.SIGINT)
        assert service.parent.wait(timeout=5) == 0
        assert not any(map(is_running, processes))


def test_with_a_database_url_it_starts_no_postgres(folder: Path, empty_database_url: str) -> None:
    secret = folder.parent / "database-url"
    secret.write_text(empty_database_url + "\n")
    with serving(folder, DATABASE_URL_FILE=str(secret)) as service:
        wait_until(service.is_ready, "/readyz answers 200")
        assert {entry.name for entry in folder.iterdir()} == {"thumbnails"}


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port"])
def test_a_taken_port_is_told_in_one_sentence_before_anything_starts(folder: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(folder, option, str(port)) as parent:
            assert parent.wait() == 1
    text = messages(folder).read_text()
    assert text == f"thumbq: Nothing can listen on 127.0.0.1:{port}: Address already in use.\n"
    assert not (folder / "postgres").exists()


def test_a_database_that_does_not_fit_is_told_once_without_its_password(folder: Path, postgres: str) -> None:
    address = f"{database_at(postgres, 'nowhere')}&password=hunter2"
    with start(folder, DATABASE_URL=address) as parent:
        assert parent.wait() == 2
    text = messages(folder).read_text()
    assert text == 'thumbq server: PostgreSQL refuses DATABASE_URL: database "nowhere" does not exist.\n'


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DATABASE_URL": "postgresql://queue:hunter2/x@db/thumbs"}, "write %2F for /"),
        ({"DATABASE_URL": "postgresql://db/thumbs?pgbouncer=true"}, "has the parameter 'pgbouncer'"),
        ({"THUMBQ_GRPC_PORT": "x"}, "THUMBQ_GRPC_PORT must be a port number"),
        ({"THUMBQ_RETRY_BASE": "-1"}, "THUMBQ_RETRY_BASE cannot be '-1': input should be greater than 0."),
        ({}, "DATABASE_URL is not set"),
    ],
)
def test_a_server_alone_refuses_what_only_the_operator_can_change(variables: dict[str, str], sentence: str) -> None:
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    complete = {"DATABASE_URL": "postgresql://db/thumbs"} if variables and "DATABASE_URL" not in variables else {}
    command = [sys.executable, "-P", "-m", "thumbq_server"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean | complete | variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_several_processes_share_the_addresses_and_stand_in_for_each_other(folder: Path) -> None:
    with serving(folder, THUMBQ_PROCESSES="2") as service:
        servers, gateways = service.children("thumbq_server"), service.children("thumbq_gateway")
        assert (len(servers), len(gateways)) == (2, 2)
        for killed in (min(servers), min(gateways)):
            os.kill(killed, signal.SIGKILL)
            wait_for_end({killed})
            wait_until(lambda: is_enqueued(service, 7), "a job is enqueued while another process is away")
        wait_until(lambda: len(service.children("thumbq_server")) == 2, "the killed server is back")
        wait_until(lambda: len(service.children("thumbq_gateway")) == 2, "the killed gateway is back")


def test_several_processes_take_the_connections_of_each_other_s_hubs(folder: Path) -> None:
    """Each request may reach another process; of ten pairs, some surely reach two."""
    with serving(folder, THUMBQ_PROCESSES="2") as service:
        for _ in range(10):
            status, negotiated = request(f"{service.page}thumbnailHub/negotiate?negotiateVersion=1", {})
            assert status == 200
            token = json.loads(negotiated)["connectionToken"]
            assert request(f"{service.page}thumbnailHub?id={token}") == (200, b"")


def test_several_processes_do_not_join_a_stranger_at_its_port(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with start(folder, "--http-port", str(port), "--processes", "2") as parent:
            assert parent.wait() == 1
    assert f"Nothing can listen on 127.0.0.1:{port}: Address already in use." in messages(folder).read_text()


def test_it_serves_on_ipv6_and_prints_addresses_that_work(folder: Path) -> None:
    with serving(folder, THUMBQ_HTTP_HOST="::1", THUMBQ_GRPC_HOST="[::1]") as service:
        assert service.page.startswith("http://[::1]:")
        assert service.grpc_address.startswith("[::1]:")
        wait_until(service.is_ready, "/readyz answers 200")


def test_without_anyone_to_take_its_log_it_does_all_of_its_work(folder: Path) -> None:
    """Stdout is closed and stderr is a full disk; the lease of a worker that has died expires all the same."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f'exec "$0" serve --data-dir "$1" --http-port {port} --grpc-port 0 >&- 2>/dev/full'
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    variables = clean | {"THUMBQ_UNARY_LEASE_DURATION": "1", "THUMBQ_COLOUR": "a line for the log"}
    with subprocess.Popen(["sh", "-c", command, THUMBQ, folder], env=variables, text=True) as parent:
        service = Service(parent, f"http://127.0.0.1:{port}/", "")
        try:
            wait_until(service.is_ready, "/readyz answers 200", 40)
            job = enqueue(service, model=44)
            status, _ = request(f"{service.page}api/thumbnail-jobs/dequeue", {"workerId": "dead"})
            assert status == 200
            path = f"api/thumbnail-jobs/{job}"
            wait_until(lambda: b"Pending" in service.get(path)[1], "the lease of the dead worker expires")
        finally:
            parent.terminate()
    assert parent.returncode == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("", "PG_VERSION is empty or damaged"), ("99\n", "was made by PostgreSQL 99, which is not installed here.")],
)
def test_a_cluster_that_cannot_be_used_is_told_in_a_sentence(folder: Path, content: str, sentence: str) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text(content)
    with start(folder) as parent:
        assert parent.wait() == 1
    text = messages(folder).read_text()
    assert sentence in text
    assert text.count("\n") == 1


def test_other_machines_are_not_served_without_keys(folder: Path) -> None:
    with start(folder, "--host", "0.0.0.0") as parent:
        assert parent.wait() == 2
    assert "pass --insecure" in messages(folder).read_text()
    assert not folder.exists()


def test_the_parent_loads_none_of_the_libraries_of_its_children() -> None:
    heavy = {"grpc", "asyncpg", "sqlalchemy", "aiohttp", "pydantic", "uvloop"}
    code = f"import sys, thumbq_launcher.__main__; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
