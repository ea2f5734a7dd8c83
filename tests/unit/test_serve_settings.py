"""The settings of `thumbq serve`, read from its environment."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.support.network.ports import free_port as unused_port
from thumbq_launcher.__main__ import _programs
from thumbq_launcher.settings import LauncherSettings
from thumbq_runtime.access import secret_files
from thumbq_runtime.addresses import CannotListen, free_port, is_loopback, reachable_address
from thumbq_runtime.settings.declaration import InvalidSetting
from thumbq_server.domain.paths import plain_roots


@pytest.fixture
def data_dir(tmp_path: Path) -> dict[str, str]:
    return {"THUMBQ_DATA_DIR": str(tmp_path / "data")}


def test_nothing_needs_to_be_set(data_dir: dict[str, str], tmp_path: Path) -> None:
    settings = LauncherSettings.read(data_dir)
    assert settings.database_url is None
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 5009)
    assert (settings.grpc_host, settings.grpc_port) == ("127.0.0.1", 50051)
    assert settings.thumbnail_root == tmp_path / "data/thumbnails"
    assert settings.thumbnail_root.is_dir()


def test_what_it_makes_is_its_owners_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        settings = LauncherSettings.read({"THUMBQ_DATA_DIR": str(tmp_path / "a/data")})
    finally:
        os.umask(before)
    # The PostgreSQL of root runs as another user, who passes the folder and cannot list it.
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == (0o700 if os.geteuid() else 0o711)
    assert stat.S_IMODE(settings.thumbnail_root.stat().st_mode) == 0o700


def test_strangers_may_report_thumbnails_in_its_own_folder_only(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder = {"THUMBQ_DATA_DIR": str(tmp_path / "link")}
    exposed = folder | {"THUMBQ_HTTP_HOST": "0.0.0.0", "THUMBQ_INSECURE": "1"}
    assert LauncherSettings.read(folder).thumbnail_roots == ""
    assert LauncherSettings.read(exposed).thumbnail_roots == f"{tmp_path}/link/thumbnails:{tmp_path}/real/thumbnails"
    assert LauncherSettings.read(exposed | {"THUMBQ_THUMBNAIL_ROOTS": "/a:/b"}).thumbnail_roots == "/a:/b"
    with pytest.raises(InvalidSetting, match="has a colon in it"):
        LauncherSettings.read(exposed | {"THUMBQ_DATA_DIR": str(tmp_path / "a:b")})


def test_folders_may_be_named_from_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    exposed = {"THUMBQ_HTTP_HOST": "0.0.0.0", "THUMBQ_INSECURE": "1", "THUMBQ_DATA_DIR": "../data"}
    settings = LauncherSettings.read(exposed)
    assert settings.data_dir == tmp_path / "data"
    assert plain_roots([settings.thumbnail_roots]) == (f"{tmp_path}/data/thumbnails",)
    pictures = LauncherSettings.read(exposed | {"THUMBQ_THUMBNAIL_ROOT": "../pictures"})
    assert plain_roots([pictures.thumbnail_roots]) == (f"{tmp_path}/pictures",)


@pytest.mark.parametrize("name", ["DATABASE_URL", "THUMBQ_DATABASE_URL"])
def test_the_database_may_be_named_directly_or_in_a_file(data_dir: dict[str, str], tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://in-the-file/x\n")
    assert LauncherSettings.read(data_dir | {name: "postgresql://a/b"}).database_url == "postgresql://a/b"
    in_file = LauncherSettings.read(data_dir | {f"{name}_FILE": str(secret)})
    assert in_file.database_url == "postgresql://in-the-file/x"


def test_a_database_of_its_own_variable_goes_before_that_of_other_programs(data_dir: dict[str, str]) -> None:
    both = {"DATABASE_URL": "postgresql://other/x", "THUMBQ_DATABASE_URL": "postgresql://ours/x"}
    assert LauncherSettings.read(data_dir | both).database_url == "postgresql://ours/x"


def test_port_serves_platforms_with_one_port(data_dir: dict[str, str]) -> None:
    assert LauncherSettings.read(data_dir | {"PORT": "8080"}).http_port == 8080
    assert LauncherSettings.read(data_dir | {"PORT": "8080", "THUMBQ_HTTP_PORT": "0"}).http_port == 0


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"THUMBQ_HTTP_PORT": "99999"}, "THUMBQ_HTTP_PORT must be a port number from 0 to 65535, not '99999'."),
        ({"THUMBQ_GRPC_PORT": "x"}, "THUMBQ_GRPC_PORT must be a port number from 0 to 65535, not 'x'."),
        (
            {"THUMBQ_SHUTDOWN_GRACE": "x"},
            "THUMBQ_SHUTDOWN_GRACE must be a positive number of seconds, at most a century, not 'x'.",
        ),
        ({"DATABASE_URL_FILE": "/nowhere"}, "DATABASE_URL_FILE cannot be read"),
        ({"THUMBQ_THUMBNAIL_ROOT": "/dev/null/x"}, "The folder for thumbnails cannot be made"),
        ({"DATABASE_URL_FILE": "/dev/null"}, "DATABASE_URL_FILE names /dev/null, which is empty."),
        ({"DATABASE_URL_FILE": "/dev/zero"}, "DATABASE_URL_FILE names /dev/zero, which is longer than 65536 bytes."),
        ({"THUMBQ_DATA_DIR": "data-\udcff"}, "The path "),
        ({"THUMBQ_DATA_DIR": "data\nfolder"}, "The path "),
        ({"THUMBQ_DATA_DIR": "/dev/null"}, "The folder for thumbnails cannot be made"),
        ({"THUMBQ_GRPC_PORT": "5009"}, "The page and the gRPC API cannot both have the port 5009."),
        (
            {"THUMBQ_GRPC_PORT": "5009", "THUMBQ_HTTP_HOST": "[::]"},
            "The page and the gRPC API cannot both have the port 5009.",
        ),
        (
            {"THUMBQ_HTTP_HOST": ""},
            "THUMBQ_HTTP_HOST is empty: write 0.0.0.0 or :: for every address of this machine.",
        ),
        ({"THUMBQ_GRPC_HOST": ""}, "THUMBQ_GRPC_HOST is empty"),
        ({"THUMBQ_METRICS_PORT": "5009"}, "The page and the metrics cannot both have the port 5009."),
        (
            {"THUMBQ_METRICS_PORT": "50049", "THUMBQ_PROCESSES": "3"},
            "The gRPC API and the metrics cannot both have the port 50051.",
        ),
    ],
)
def test_unusable_settings_are_refused_with_a_sentence(
    data_dir: dict[str, str], variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InvalidSetting) as refused:
        LauncherSettings.read(data_dir | variables)
    assert str(refused.value).startswith(sentence)


def test_a_data_folder_that_is_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for place in ("circle", "circle/data"):
        with pytest.raises(InvalidSetting, match="folder for thumbnails cannot be made"):
            LauncherSettings.read({"THUMBQ_DATA_DIR": str(tmp_path / place)})


@pytest.mark.parametrize(("held", "problem"), [(b"\xff", "not UTF-8"), (b"a\0b", "holds a NUL"), (b" \n", "empty")])
def test_a_file_of_an_address_that_is_no_text_is_refused(
    data_dir: dict[str, str], tmp_path: Path, held: bytes, problem: str
) -> None:
    file = tmp_path / "address"
    file.write_bytes(held)
    with pytest.raises(InvalidSetting, match=problem):
        LauncherSettings.read(data_dir | {"DATABASE_URL_FILE": str(file)})


def test_an_address_may_come_through_a_pipe_but_is_not_awaited_for_ever(
    data_dir: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with monkeypatch.context() as patch:
        patch.setattr(secret_files, "_SECONDS", 0.1)
        with pytest.raises(InvalidSetting, match="gave nothing within"):
            LauncherSettings.read(data_dir | {"DATABASE_URL_FILE": str(pipe)})
    # The first reader has given up and still waits. This is for it.
    pipe.write_text("")
    other = tmp_path / "other"
    os.mkfifo(other)
    writer = threading.Thread(target=other.write_text, args=("postgresql://db/thumbs",))
    writer.start()
    for _ in range(2):
        settings = LauncherSettings.read(data_dir | {"DATABASE_URL_FILE": str(other)})
        assert settings.database_url == "postgresql://db/thumbs"
    writer.join()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "::ffff:127.0.0.1", "[::ffff:7f00:1]"]
)
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.7", "::ffff:10.0.0.7", "::ffff:0.0.0.0", "queue.example"]
)
def test_other_machines_may_reach_any_other_address(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("0.0.0.0", "127.0.0.1:80"),
        ("", "127.0.0.1:80"),
        ("::", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("10.1.2.3", "10.1.2.3:80"),
        ("queue.example", "queue.example:80"),
    ],
)
def test_a_bound_address_is_reached_from_this_machine(host: str, address: str) -> None:
    assert reachable_address(host, 80) == address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "::", "localhost", ""])
def test_a_port_is_looked_at_in_every_spelling_of_a_host(host: str) -> None:
    assert free_port(host, 0) > 0


def test_a_taken_port_and_an_unknown_host_are_told_in_a_sentence() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"^Nothing can listen on \[::1\]:{port}: Address already in use\.$"):
            free_port("[::1]", port)
    for host in ("nowhere.invalid", "[::1", "::1%nowhere"):
        with pytest.raises(CannotListen, match=r"^Nothing can listen on .+:0: [A-Z][a-z ]+\.$"):
            free_port(host, 0)
    with pytest.raises(CannotListen, match=r"^Nothing can listen on '\\udce9': this is no name of a host\.$"):
        free_port("\udce9", 0)


@pytest.mark.parametrize(
    ("host", "taken", "told"),
    [
        ("::", "127.0.0.1", "[::]:{} (IPv6 and IPv4)"),
        ("::", "0.0.0.0", "[::]:{} (IPv6 and IPv4)"),
        ("[::]", "::1", "[::]:{} (IPv6 and IPv4)"),
        ("", "127.0.0.1", "0.0.0.0:{}"),
        ("", "::1", "[::]:{}"),
        ("0.0.0.0", "127.0.0.1", "0.0.0.0:{}"),
        ("localhost", "127.0.0.1", "127.0.0.1:{}"),
        ("0.0.0.0", "::1", None),
        ("::1", "0.0.0.0", None),
    ],
)
def test_a_port_has_to_be_free_on_every_address_of_a_host(host: str, taken: str, told: str | None) -> None:
    port = unused_port()
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, port), family=family):
        if told is None:
            assert free_port(host, port) == port
            return
        with pytest.raises(CannotListen) as refused:
            free_port(host, port)
    assert str(refused.value) == f"Nothing can listen on {told.format(port)}: Address already in use."
    assert free_port(host, port) == port


def test_each_server_has_a_port_of_its_own_for_metrics(data_dir: dict[str, str]) -> None:
    settings = LauncherSettings.read(data_dir | {"THUMBQ_METRICS_PORT": "9464", "THUMBQ_PROCESSES": "3"})
    servers, gateways = _programs(settings, "postgresql://a/b")
    assert [server.environment["THUMBQ_METRICS_PORT"] for server in servers] == ["9464", "9465", "9466"]
    assert len(gateways) == 3


def test_servers_are_told_the_folder_of_a_postgresql_of_our_own_alone(data_dir: dict[str, str]) -> None:
    settings = LauncherSettings.read(data_dir)
    (server,), _ = _programs(settings, "postgresql://a/b", Path("/data/postgres"))
    assert server.environment["THUMBQ_DATABASE_FOLDER"] == "/data/postgres"
    (server,), _ = _programs(settings, "postgresql://a/b")
    assert "THUMBQ_DATABASE_FOLDER" not in server.environment
