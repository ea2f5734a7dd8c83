"""`thumbq serve` as an operator uses it: its addresses, its signals, and its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.processes import descendants, is_running, wait_for_end, wait_until
from tests.support.network.ports import free_port
from tests.support.postgres.made_data import copy_data
from tests.support.service.served import Service, data_folder, enqueue, is_enqueued, messages, request, serving, start

THUMBQ = Path(sys.executable).with_name("thumbq")


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


def test_the_parent_loads_none_of_the_libraries_of_its_children() -> None:
    heavy = {"grpc", "asyncpg", "sqlalchemy", "aiohttp", "pydantic", "uvloop"}
    code = f"import sys, thumbq_launcher.__main__; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
