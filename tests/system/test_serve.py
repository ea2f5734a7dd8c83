"""`thumbq serve` as an operator uses it: its addresses, its signals, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.processes import descendants, is_running, wait_for_end, wait_until
from tests.support.network.ports import free_port
from tests.support.postgres.databases import database_at
from tests.support.postgres.made_data import copy_data
from tests.support.service.served import Service, data_folder, enqueue, is_enqueued, messages, request, serving, start

THUMBQ = Path(sys.executable).with_name("thumbq")
MODEL_HASH = "ab" * 32


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as path:
        yield path


@pytest.fixture
def used(folder: Path, made_data: Path) -> Path:
    """A folder with a queue, for the tests that do not look at how it comes into being."""
    return copy_data(made_data, folder)


# Nothing listens there.
DEAD_PROXY = dict.fromkeys(
    [
        spelled(name)
        for name in ("grpc_proxy", "http_proxy", "https_proxy", "all_proxy")
        for spelled in (str, str.upper)
    ],
    "http://127.0.0.1:1",
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for the tests that leave it unchanged. It asks no proxy for what is on this machine."""
    with data_folder() as path, serving(path, **DEAD_PROXY) as running:
        yield running


def test_it_answers_where_it_says(service: Service) -> None:
    wait_until(service.is_ready, "/readyz answers 200")
    assert service.page.startswith("http://127.0.0.1:")
    with grpc.insecure_channel(service.grpc_address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = check(health_pb2.HealthCheckRequest(), timeout=60)
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


def test_a_folder_in_use_is_refused(used: Path) -> None:
    with serving(used) as service:
        with start(used) as second:
            assert second.wait() == 1
        assert f"in use by another thumbq (process {service.parent.pid})" in messages(used).read_text()
        wait_until(service.is_ready, "the first still answers")


def test_after_sigterm_nothing_is_left_but_the_data(used: Path) -> None:
    with serving(used) as service:
        job = enqueue(service, model=42)
        processes = descendants(service.parent.pid)
        service.parent.terminate()
        assert service.parent.wait() == 0
        assert not any(map(is_running, processes))
    assert "database system is shut down" in (used / "postgres.log").read_text()
    with serving(used) as service:
        assert service.get(f"api/thumbnail-jobs/{job}")[0] == 200


def test_killing_the_parent_leaves_no_process_and_loses_nothing(used: Path) -> None:
    with serving(used) as service:
        job = enqueue(service, model=43)
        processes = descendants(service.parent.pid)
        service.parent.kill()
        wait_for_end(processes)
    with serving(used) as service:
        assert service.get(f"api/thumbnail-jobs/{job}")[0] == 200


def test_a_second_signal_ends_it_at_once(used: Path) -> None:
    with serving(used, THUMBQ_SHUTDOWN_GRACE="600") as service:
        processes = descendants(service.parent.pid)
        os.kill(service.child("thumbq_server"), signal.SIGSTOP)
        gateway = service.child("thumbq_gateway")
        service.parent.send_signal(signal.SIGINT)
        wait_for_end({gateway})
        service.parent.send_signal(signal.SIGINT)
        assert service.parent.wait(timeout=60) == 0
        assert not any(map(is_running, processes))


def test_with_a_database_url_it_starts_no_postgres(folder: Path, empty_database_url: str) -> None:
    secret = folder.parent / "database-url"
    secret.write_text(empty_database_url + "\n")
    with serving(folder, DATABASE_URL_FILE=str(secret)) as service:
        wait_until(service.is_ready, "/readyz answers 200")
        assert {entry.name for entry in folder.iterdir()} == {"thumbnails"}


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port"])
@pytest.mark.parametrize(
    ("host", "taken", "told"),
    [("127.0.0.1", "127.0.0.1", "127.0.0.1:{}"), ("::", "127.0.0.1", "[::]:{} (IPv6 and IPv4)")],
)
def test_a_taken_port_is_told_in_one_sentence_before_anything_starts(
    folder: Path, option: str, host: str, taken: str, told: str
) -> None:
    with socket.create_server((taken, 0)) as other:
        port = other.getsockname()[1]
        with start(folder, "--host", host, option, str(port)) as parent:
            assert parent.wait() == 1
    text = messages(folder).read_text()
    assert text == f"thumbq: Nothing can listen on {told.format(port)}: Address already in use.\n"
    assert not (folder / "postgres").exists()


def test_a_database_that_does_not_fit_is_told_once_without_its_password(folder: Path, postgres: str) -> None:
    address = f"{database_at(postgres, 'nowhere')}&password=hunter2"
    with start(folder, DATABASE_URL=address) as parent:
        assert parent.wait() == 2
    text = messages(folder).read_text()
    assert text == 'thumbq server: PostgreSQL refuses DATABASE_URL: database "nowhere" does not exist.\n'


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://db/thumbs?host={folder}", "No such file or directory"),
        ("postgresql://127.0.0.1:1/thumbs", "Connection refused"),
    ],
    ids=["no socket", "nothing listens"],
)
def test_a_database_that_is_away_is_told_once(folder: Path, address: str, sentence: str) -> None:
    with start(folder, DATABASE_URL=address.format(folder=folder)) as parent:
        assert parent.wait() == 1
    own, parents = messages(folder).read_text().splitlines()
    assert own.startswith("thumbq server: PostgreSQL cannot be reached: ")
    assert sentence in own
    assert parents == "thumbq: The server ended with exit code 1 before it was ready: its own messages say why."


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DATABASE_URL": "postgresql://queue:hunter2/x@db/thumbs"}, "write its / ? # @ : as %2F %3F %23 %40 %3A"),
        (
            {"DATABASE_URL": "postgresql://db/thumbs?pgbouncer=maybe"},
            "pgbouncer in DATABASE_URL must be true or false.",
        ),
        ({"THUMBQ_GRPC_PORT": "x"}, "THUMBQ_GRPC_PORT must be a port number"),
        (
            {"THUMBQ_RETRY_BASE": "-1"},
            "THUMBQ_RETRY_BASE cannot be '-1': input should be greater than or equal to 0.001.",
        ),
        (
            {"THUMBQ_GRPC_SOCKET": "/" + "s" * 107},
            "THUMBQ_GRPC_SOCKET is longer than 107 bytes: choose a shorter path.",
        ),
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


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "Address already in use."), ("203.0.113.7", "Cannot assign requested address.")],
    ids=["taken", "not there yet"],
)
def test_a_server_alone_whose_address_may_be_had_later_ends_so_that_it_is_started_again(host: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = {"THUMBQ_GRPC_HOST": host, "THUMBQ_GRPC_PORT": str(port), "DATABASE_URL": "postgresql://db/thumbs"}
        command = [sys.executable, "-P", "-m", "thumbq_server"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | address)
    assert done.returncode == 1
    assert f"thumbq server: Nothing can listen on {host}:{port}: {reason}\n" in done.stderr


def test_several_processes_share_the_addresses_and_stand_in_for_each_other(used: Path) -> None:
    with serving(used, THUMBQ_PROCESSES="2") as service:
        servers, gateways = service.children("thumbq_server"), service.children("thumbq_gateway")
        assert (len(servers), len(gateways)) == (2, 2)
        for killed in (min(servers), min(gateways)):
            os.kill(killed, signal.SIGKILL)
            wait_for_end({killed})
            wait_until(lambda: is_enqueued(service, 7), "a job is enqueued while another process is away")
        wait_until(lambda: len(service.children("thumbq_server")) == 2, "the killed server is back")
        wait_until(lambda: len(service.children("thumbq_gateway")) == 2, "the killed gateway is back")


def test_several_processes_take_the_connections_of_each_other_s_hubs(used: Path) -> None:
    """Each request may reach another process; of ten pairs, some surely reach two."""
    with serving(used, THUMBQ_PROCESSES="2") as service:
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


def test_it_serves_on_ipv6_and_prints_addresses_that_work(used: Path) -> None:
    with serving(used, THUMBQ_HTTP_HOST="::1", THUMBQ_GRPC_HOST="[::1]") as service:
        assert service.page.startswith("http://[::1]:")
        assert service.grpc_address.startswith("[::1]:")
        wait_until(service.is_ready, "/readyz answers 200")


def test_without_anyone_to_take_its_log_it_does_all_of_its_work(used: Path) -> None:
    """Stdout is closed and stderr is a full disk; the lease of a worker that has died still expires."""
    port = free_port()
    command = f'exec "$0" serve --data-dir "$1" --http-port {port} --grpc-port 0 >&- 2>/dev/full'
    clean = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    variables = clean | {"THUMBQ_UNARY_LEASE_DURATION": "1", "THUMBQ_COLOUR": "a line for the log"}
    with subprocess.Popen(["sh", "-c", command, THUMBQ, used], env=variables, text=True) as parent:
        service = Service(parent, f"http://127.0.0.1:{port}/", "")
        try:
            wait_until(service.is_ready, "/readyz answers 200", 120)
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
    [("", "PG_VERSION is empty or damaged"), ("99\n", "was made by PostgreSQL 99, which is not installed here")],
)
def test_a_cluster_that_cannot_be_used_is_told_in_a_sentence(folder: Path, content: str, sentence: str) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text(content)
    with start(folder) as parent:
        assert parent.wait() == 1
    text = messages(folder).read_text()
    assert sentence in text
    assert text.count("\n") == 1


def test_a_folder_for_sockets_whose_path_is_too_long_is_named(folder: Path, tmp_path: Path) -> None:
    long = tmp_path / ("s" * 100)
    long.mkdir()
    certificates = {"THUMBQ_TLS_CERT_FILE": "/nowhere.pem", "THUMBQ_TLS_KEY_FILE": "/nowhere.pem"}
    with start(folder, TMPDIR=str(long), DATABASE_URL="postgresql://db/thumbs", **certificates) as parent:
        assert parent.wait() == 2
    text = messages(folder).read_text()
    assert text == "thumbq: The path in TMPDIR is too long for a socket: choose a shorter one.\n"
    assert not list(long.iterdir())


def test_other_machines_are_not_served_without_keys(folder: Path) -> None:
    with start(folder, "--host", "0.0.0.0") as parent:
        assert parent.wait() == 2
    said = messages(folder).read_text()
    assert "thumbq keys create" in said
    assert "--insecure" in said


def test_the_parent_loads_none_of_the_libraries_of_its_children() -> None:
    heavy = {"grpc", "asyncpg", "sqlalchemy", "aiohttp", "pydantic", "uvloop"}
    code = f"import sys, thumbq_launcher.__main__; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
