"""docker-compose.yml uses only commands, options and variables that exist."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

import thumbq_gateway.settings
import thumbq_server.settings
from thumbq.cli import app

ROOT = Path(__file__).parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS: dict[str, type[BaseSettings]] = {
    "server": thumbq_server.settings.Settings,
    "gateway": thumbq_gateway.settings.Settings,
}


@pytest.mark.parametrize("name", OURS)
def test_each_container_runs_a_command_with_options_that_it_has(name):
    command, *arguments = OURS[name]["command"]
    commands = typer.main.get_group(app).commands
    assert command in commands
    known = {option for parameter in commands[command].params for option in parameter.opts}
    assert {argument.split("=")[0] for argument in arguments} <= known


@pytest.mark.parametrize("name", SETTINGS)
def test_each_variable_is_one_that_is_read_and_understood(name, monkeypatch):
    environment = OURS[name]["environment"]
    assert environment.keys() <= variables(SETTINGS[name])
    for variable, value in environment.items():
        monkeypatch.setenv(variable, str(value))
    SETTINGS[name]()


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
def test_each_container_is_built_from_a_stage_that_exists(name):
    stages = {line.split()[-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM")}
    assert OURS[name]["build"]["target"] in stages


def test_the_gateway_and_the_worker_reach_the_server_where_it_listens():
    address = f"server:{OURS['server']['environment']['THUMBQ_GRPC_PORT']}"
    assert OURS["gateway"]["environment"]["THUMBQ_SERVER"] == address
    assert f"--server={address}" in OURS["worker"]["command"]


def variables(settings: type[BaseSettings]) -> set[str]:
    names = set()
    for name, field in settings.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
        else:
            names.add(f"THUMBQ_{name.upper()}")
    return names
