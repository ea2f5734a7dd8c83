"""What the code declares, for the tests that compare the files of a deployment with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer.main
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

import thumbq_gateway.settings
import thumbq_server.settings
from thumbq.cli import app

SETTINGS: dict[str, type[BaseSettings]] = {
    "server": thumbq_server.settings.Settings,
    "gateway": thumbq_gateway.settings.Settings,
}
# How a store is reached: docs/operations.md has them.
AWS = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
# Programs that open a gateway's or a server's channel read these from their environment, too.
CLIENT_VARIABLES = {"THUMBQ_API_KEY", "THUMBQ_API_KEY_FILE"}


def command(words: Sequence[str]) -> Any:
    """Return the command that words call, and fail where it or an option of it does not exist."""
    called: Any = typer.main.get_group(app)
    while hasattr(called, "commands"):
        assert words[0] in called.commands
        called = called.commands[words[0]]
        words = words[1:]
    known = {option for parameter in called.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words} <= known
    return called


def variables(settings: type[BaseSettings]) -> set[str]:
    """Return the environment variables that a program reads."""
    names = set()
    for name, field in settings.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
        else:
            names.add(f"THUMBQ_{name.upper()}")
    return names


def assert_read(words: Sequence[str], environment: Mapping[str, object]) -> None:
    """Fail where the command reads none of these variables."""
    if words[0] in SETTINGS:
        known = variables(SETTINGS[words[0]])
    else:
        parameters = command(words).params
        known = {name for parameter in parameters for name in _names(parameter.envvar)} | CLIENT_VARIABLES
    assert environment.keys() <= known


def listened_on(words: Sequence[str], environment: Mapping[str, object]) -> set[int]:
    """Return the ports that a command with this environment opens."""
    named = {str(value) for name, value in environment.items() if name.endswith("_PORT")}
    given = {word.partition("=")[2] for word in words if word.startswith("--metrics-port=")}
    return {int(port) for port in named | given}


def _names(envvar: str | Sequence[str] | None) -> list[str]:
    return [envvar] if isinstance(envvar, str) else list(envvar or ())
