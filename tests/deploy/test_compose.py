"""docker-compose.yml and the Dockerfile use only commands, options and variables that exist."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.declared import AWS, SETTINGS, assert_read, command, variables
from thumbq_runtime.files.objects import checked_address
from thumbq_server.storage.postgres.address import parse_address

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("thumbq-")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROGRAMS = {"migrate": "server", "server": "server", "server-2": "server", "gateway": "gateway"}
OF_THUMBQ = [name for name in OURS if name != "keys"]  # which runs a script


@pytest.mark.parametrize("name", OF_THUMBQ)
def test_each_container_runs_a_command_with_options_that_it_has(name):
    command(OURS[name]["command"])


def test_each_image_runs_a_command_with_options_that_it_has():
    commands = [json.loads(line) for line in re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)]
    assert [words[0] for words in commands] == ["worker", "gateway", "server"]
    for words in commands:
        command(words)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_variable_is_one_that_is_read_and_understood(name, monkeypatch, tmp_path):
    environment = OURS[name]["environment"]
    assert environment.keys() <= variables(SETTINGS[PROGRAMS[name]]) | {"PGPASSWORD"}
    (tmp_path / "gateway-secret").write_text("a secret of more than sixteen characters")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(value).replace("/secrets", str(tmp_path)))
    SETTINGS[PROGRAMS[name]]()


def test_the_password_of_postgres_may_hold_any_characters():
    """It stands beside the address, and not within it."""
    programs = [service["environment"] for service in OURS.values() if "DATABASE_URL" in service.get("environment", {})]
    assert len(programs) == 4
    for environment in programs:
        assert parse_address(environment["DATABASE_URL"]).arguments(("postgres", 5432))["password"] is None
        assert environment["PGPASSWORD"] == SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]


def test_every_program_that_keeps_pictures_may_write_where_they_are():
    volumes = {name: service.get("volumes", ()) for name, service in OURS.items()}
    writers = {name for name in OURS if "thumbnails:/thumbnails" in volumes[name]}
    assert writers == {"server", "server-2", "gateway", "worker"}


@pytest.mark.parametrize("name", OURS)
def test_a_port_is_published_for_this_machine_only_and_is_the_one_listened_on(name):
    service = OURS[name]
    listened_on = {value for variable, value in service.get("environment", {}).items() if variable.endswith("_PORT")}
    for published in service.get("ports", ()):
        host, outside, inside = published.split(":")
        assert host == "127.0.0.1"
        assert int(outside) == int(inside)
        assert int(inside) in listened_on


@pytest.mark.parametrize("name", OURS)
def test_each_container_can_change_nothing_but_its_volumes(name):
    service = OURS[name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_each_image_is_built_once_from_a_stage_that_exists():
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    built = [(service["image"], service["build"]["target"]) for service in OURS.values() if "build" in service]
    assert sorted(built) == [(f"thumbq-{stage}", stage) for stage in ("gateway", "server", "worker")]
    assert {target for _, target in built} <= stages
    assert {service["image"] for service in OURS.values()} == {image for image, _ in built}


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.mark.parametrize("port", ["9465", "5009"])
def test_a_health_check_asks_the_program_itself_and_not_a_proxy(port):
    checks = [json.loads(line) for line in re.findall(r'CMD (\["python".*)$', DOCKERFILE, re.MULTILINE)]
    [code] = [words[-1] for words in checks if port in words[-1]]
    with HTTPServer(("127.0.0.1", 0), Healthy) as program:
        asked = threading.Thread(target=program.handle_request, daemon=True)
        asked.start()
        here = code.replace(port, str(program.server_port))
        checked = subprocess.run(
            [sys.executable, "-c", here], env=os.environ | {"http_proxy": "http://127.0.0.1:1"}, check=False
        )
        assert checked.returncode == 0
        asked.join()


def test_the_images_expose_the_ports_that_are_listened_on():
    exposed = {int(port) for line in re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE) for port in line.split()}
    listened_on = {
        value
        for service in OURS.values()
        for variable, value in service.get("environment", {}).items()
        if variable.endswith("_PORT")
    }
    assert exposed == listened_on | {9465}
    assert "--metrics-port=9465" in OURS["worker"]["command"]


def test_the_gateway_and_the_worker_reach_the_servers_where_they_listen():
    for name in ("server", "server-2"):
        [alias] = OURS[name]["networks"]["default"]["aliases"]
        address = f"{alias}:{OURS[name]['environment']['THUMBQ_GRPC_PORT']}"
        assert OURS["gateway"]["environment"]["THUMBQ_SERVER"] == address
        assert f"--server={address}" in OURS["worker"]["command"]


def test_prometheus_scrapes_every_program_where_it_has_metrics():
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/compose.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for entry in job["static_configs"] for target in entry["targets"]]
    assert targets == ["server:9464", "server-2:9464", "gateway:5009", "worker:9465"]
    assert {OURS[name]["environment"]["THUMBQ_METRICS_PORT"] for name in ("server", "server-2")} == {9464}
    here = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert [job["job_name"] for job in here] == [job["job_name"] for job in scraped]


def test_every_container_has_the_secrets_that_the_script_makes(database_url, tmp_path):
    script = ["sh", str(ROOT / "deploy/compose/keys.sh"), str(tmp_path)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"DATABASE_URL": database_url, "PATH": path}
    subprocess.run(script, env=environment, check=True)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert all(made[f"{role}.key"].startswith("tq_") for role in ("admin", "worker", "viewer"))
    subprocess.run(script, env=environment, check=True)
    assert made == {file.name: file.read_text() for file in tmp_path.iterdir()}

    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    assert modes == {"gateway-secret": "0o600", "admin.key": "0o600", "worker.key": "0o600", "viewer.key": "0o644"}

    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "deploy/prometheus/compose.yml").read_text()
    assert set(re.findall(r"/secrets/([a-z.-]+)", text)) == modes.keys()
    readers = {name for name, service in SERVICES.items() if "secrets:/secrets:ro" in service.get("volumes", ())}
    assert readers == {"server", "server-2", "gateway", "worker", "prometheus"}


def test_every_file_that_a_container_reads_is_there():
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [ROOT / volume.split(":")[0] for volume in mounted if volume.startswith("./")]
    assert len(files) == 4
    assert [file for file in files if not file.exists()] == []


def test_with_a_store_every_program_that_has_pictures_is_told_where_it_is():
    overlay = yaml.safe_load((ROOT / "deploy/compose/s3.yml").read_text())
    store = overlay["services"].pop("store")
    with_pictures = {name for name in OURS if any("thumbnails:" in volume for volume in OURS[name].get("volumes", ()))}
    assert overlay["services"].keys() == with_pictures
    for name, service in overlay["services"].items():
        told = dict(service["environment"])
        assert checked_address(told["THUMBQ_THUMBNAIL_STORE"]) == "s3://thumbq/thumbs"
        assert told.keys() <= AWS | {"THUMBQ_THUMBNAIL_STORE"}
        assert_read(OURS[name]["command"], {"THUMBQ_THUMBNAIL_STORE": ""})
        assert told["AWS_ENDPOINT_URL"] == "http://store:9000"
        keys = told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]
        assert keys == (store["environment"]["STORE_KEY"], store["environment"]["STORE_SECRET"])
    assert "mkdir -p /data/thumbq && exec rclone serve s3" in store["entrypoint"][-1]
    assert "--addr=:9000" in store["entrypoint"][-1]
    assert store["volumes"] == ["objects:/data"]
    assert "ports" not in store
