"""`thumbq doctor` says what is wrong, and what to do."""

import platform
import re
import socket
from importlib.metadata import version
from pathlib import Path

import asyncpg
import grpc
import pytest
from aiohttp import web

from tests.support.network.ports import free_port
from tests.support.service.keys import make_key
from tests.support.service.server import running_server
from tests.support.stores.object_store import BUCKET
from tests.support.stores.troubled_store import TroubledStore, says
from tests.support.waiting import eventually
from tests.wire.operator.test_cli_interventions import thumbq
from thumbq.cli.setup.doctor import compare_versions
from thumbq_server.rpc.codec import operations as codec
from thumbq_server.storage.postgres.address import parse_address


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """Let no sentence be broken into lines."""
    monkeypatch.setenv("COLUMNS", "400")


async def test_all_is_well_with_a_server_that_is_ready(server, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("THUMBQ_DATA_DIR", str(tmp_path))
    _, output = await thumbq(server, "doctor")
    words = " ".join(output.split())
    assert f"ok server {server} is ready, and so is its database" in words
    assert re.search(r"(ok|wrong) clock \d+\.\d s away from that of the database", words)
    assert f"ok version thumbq {version('thumbq')}, Python {platform.python_version()}" in words
    assert "ok extras server, gateway" in words
    assert f"ok server's version thumbq {version('thumbq')} ok clock" in words.replace("wrong clock", "ok clock")


async def test_a_server_that_tells_no_version_is_older_and_nothing_is_wrong_with_that(server, monkeypatch):
    monkeypatch.setattr(codec, "_version", lambda: "")
    _, output = await thumbq(server, "doctor")
    older = f"ok server's version it is not told, so the server is older than thumbq {version('thumbq')}"
    assert older in " ".join(output.split())


@pytest.mark.parametrize(
    ("own", "told", "says", "advice"),
    [
        ("0.4.1", "0.4.0", "thumbq 0.4.0", ""),
        ("0.4.1", "0.5.0", "newer than thumbq 0.4.1", ""),
        ("0.4.1", "0.3.9.dev2+g12", "older than thumbq 0.4.1", ""),
        ("2.0.0", "1.7.0", "older than thumbq 2.0.0", ""),
        ("0.4.1", "0.2.7", "by more than a release", "Renew the server. See docs/operations.md#upgrades."),
        ("0.4.1", "0.10.0", "by more than a release", "Install thumbq 0.10.0 on this machine."),
        ("1.7.0", "2.1.0", "by more than a release", "Install thumbq 2.1.0 on this machine."),
        ("0.4.1", "main", "thumbq main", ""),
    ],
)
def test_versions_that_are_more_than_a_release_apart_are_told_with_the_way_out(own, told, says, advice):
    finding = compare_versions(own, told)
    assert says in finding.found
    assert finding.advice.startswith(advice)
    assert bool(finding.advice) == bool(advice)


async def test_a_server_that_is_away_is_named_with_the_way_out(monkeypatch):
    away = f"127.0.0.1:{free_port()}"
    code, output = await thumbq(away, "doctor")
    assert code == 1
    assert f"wrong server {away} cannot be reached" in " ".join(output.split())
    assert "Is `thumbq serve` running? Name another with --server or THUMBQ_SERVER." in output
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, output = await thumbq("queue.invalid:50051", "doctor")
    assert "wrong server queue.invalid:50051 cannot be reached" in " ".join(output.split())
    assert "leads through the proxy that http_proxy names, unless no_proxy names the server's host." in output


async def test_a_server_that_does_not_answer_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        _, output = await thumbq(server, "doctor")
    assert f"wrong server {server} does not answer within 5 s" in " ".join(output.split())


async def test_a_setting_that_cannot_be_read_and_a_folder_that_is_not_there_are_told(server, monkeypatch, tmp_path):
    monkeypatch.setenv("THUMBQ_PROCESSES", "many")
    monkeypatch.setenv("THUMBQ_THUMBNAIL_ROOT", str(tmp_path / "nowhere"))
    code, output = await thumbq(server, "doctor")
    assert code == 1
    assert "wrong setting THUMBQ_PROCESSES must be a number from 1 to 64" in " ".join(output.split())
    assert "nowhere does not exist yet" in " ".join(output.split())


async def test_a_server_that_cannot_write_is_told_with_its_reason(server, postgres, database_url):
    name = parse_address(database_url).database
    connection = await asyncpg.connect(postgres)
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

    async def told() -> bool:
        code, output = await thumbq(server, "doctor")
        return code == 1 and "is not ready: the database is read-only" in " ".join(output.split())

    await eventually(told, timeout=120)
    await connection.close()


async def test_a_database_that_may_lose_jobs_is_a_warning_with_the_way_out(database_url):
    """An address with several hosts has standbys, and this PostgreSQL waits for none."""
    address = parse_address(database_url)
    ((folder, port),) = address.hosts
    place = f"{folder.replace('/', '%2F')}:{port}"
    async with running_server(f"postgresql://{address.user}@{place},{place}/{address.database}") as server:
        code, output = await thumbq(server, "health")
        assert code == 0
        assert f"The server at {server} is ready.\nWarning: synchronous_standby_names is empty, so a standby" in output
        code, output = await thumbq(server, "doctor")
        assert code == 1
        assert "wrong database synchronous_standby_names is empty, so a standby" in " ".join(output.split())
        assert "docs/operations.md#a-cluster-that-fails-over" in output


async def test_the_store_of_pictures_is_tried_out(server, monkeypatch, object_store):
    monkeypatch.setenv("THUMBQ_THUMBNAIL_STORE", f"{object_store.address}/thumbs")
    _, output = await thumbq(server, "doctor")
    well = f"ok picture store {object_store.address}/thumbs answers; pictures can be written, read and removed"
    assert well in " ".join(output.split())
    assert object_store.objects() == {}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-9b1c")
    code, output = await thumbq(server, "doctor")
    assert (code, "wrong picture store s3://" in " ".join(output.split())) == (1, True)
    assert "does not accept the credentials" in output
    assert "Look at the AWS_ variables" in output
    assert "wrong-secret-9b1c" not in output
    object_store.stop()
    code, output = await thumbq(server, "doctor")
    assert (code, "cannot be reached" in output, "AWS_ENDPOINT_URL" in output) == (1, True, True)


@pytest.mark.parametrize(
    ("method", "found", "right"),
    [
        ("PUT", "takes no pictures: The object store does not accept the credentials", "PutObject"),
        ("DELETE", "removes no pictures, so thumbq-doctor-", "DeleteObject"),
    ],
)
async def test_a_right_that_a_store_does_not_give_is_named(server, monkeypatch, troubled_store, method, found, right):
    refuse = says(403, "AccessDenied")

    async def trouble(store: TroubledStore, request: web.BaseRequest) -> web.StreamResponse | None:
        is_remove = method == "DELETE" and (request.method == "DELETE" or "delete" in request.query)
        return await refuse(store, request) if is_remove or request.method == method else None

    troubled_store.trouble = trouble
    monkeypatch.setenv("THUMBQ_THUMBNAIL_STORE", f"s3://{BUCKET}/thumbs")
    code, output = await thumbq(server, "doctor")
    words = " ".join(output.split())
    assert (code, found in words) == (1, True), words
    assert f"The credentials need {right} below this address." in words


async def test_the_stores_of_models_are_asked(server, monkeypatch, object_store):
    monkeypatch.setenv("THUMBQ_MODEL_STORE", f"{object_store.address}/models/{{model_id}}.glb")
    monkeypatch.setenv("THUMBQ_MODELS", "s3://no-such-bucket/{model_hash}")
    code, output = await thumbq(server, "doctor")
    words = " ".join(output.split())
    assert f"ok model store {object_store.address}/models/{{model_id}}.glb answers, and models can be read" in words
    assert "wrong model store s3://no-such-bucket/{model_hash}: The object store has no bucket no-such-bucket." in words
    assert code == 1
    monkeypatch.setenv("THUMBQ_MODEL_STORE", f"{object_store.address}/models")
    monkeypatch.setenv("THUMBQ_MODELS", "models")
    code, output = await thumbq(server, "doctor")
    assert (code, "Correct THUMBQ_MODEL_STORE." in output) == (1, True)
    assert output.count("model store") == 1


async def test_a_server_that_asks_for_a_key_is_told_with_the_way_to_one(server, monkeypatch, tmp_path: Path):
    async with grpc.aio.insecure_channel(server) as channel:
        key = await make_key(channel, "admin")
    code, output = await thumbq(server, "doctor")
    words = " ".join(output.split())
    assert (code, f"ok server {server} is ready" in words) == (1, True)
    assert "wrong clock the time of the database is not told: UNAUTHENTICATED: " in words
    assert "Give a key that counts in THUMBQ_API_KEY, or in the file that THUMBQ_API_KEY_FILE names." in words
    monkeypatch.setenv("THUMBQ_API_KEY", key)
    assert "s away from that of the database" in (await thumbq(server, "doctor"))[1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "THUMBQ_API_KEY_FILE cannot be read: "), ("\n", "THUMBQ_API_KEY_FILE names {}, which holds no key")],
)
async def test_a_file_without_a_key_is_told(server, monkeypatch, tmp_path: Path, content, sentence):
    if content:
        (tmp_path / "key").write_text(content)
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(tmp_path / "key"))
    code, output = await thumbq(server, "doctor")
    words = " ".join(output.split())
    assert (code, f"wrong key {sentence.format(tmp_path / 'key')}" in words) == (1, True), words


async def test_a_folder_that_cannot_be_looked_at_is_told(server, monkeypatch, tmp_path: Path):
    # This error comes for every user, where that of a closed folder does not come for root.
    monkeypatch.setenv("THUMBQ_DATA_DIR", str(tmp_path / ("x" * 300)))
    code, output = await thumbq(server, "doctor")
    assert code == 1
    assert re.search(r"wrong +data folder .*xxx cannot be looked at: File name too long", " ".join(output.split()))
    assert "Let this user look there, or change THUMBQ_DATA_DIR." in output
    assert f"{server} is ready" in output
