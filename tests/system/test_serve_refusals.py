"""`thumbq serve`, and a server alone, that cannot start say why in a sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres.databases import database_at
from tests.support.service.served import messages, start


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


def test_several_processes_do_not_join_a_stranger_at_its_port(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        with start(folder, "--http-port", str(port), "--processes", "2") as parent:
            assert parent.wait() == 1
    assert f"Nothing can listen on 127.0.0.1:{port}: Address already in use." in messages(folder).read_text()


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
