#!/usr/bin/env python3
"""Writes docs/settings.md to standard output: every environment variable, as the programs declare it."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import typer.main
from pydantic import AliasChoices
from pydantic_settings import BaseSettings
from typer.core import TyperCommand, TyperOption

import thumbq_gateway.settings
import thumbq_launcher.settings
import thumbq_server.settings
from thumbq.cli import app
from thumbq_runtime.logs import settings as log_settings
from thumbq_runtime.settings import shared
from thumbq_runtime.settings.declaration import Setting

HEAD = """\
# Settings

Every setting is an environment variable. An empty one counts as not set, except that `thumbq serve` refuses an empty
host, which means every address of the machine. An option of a command, such as `--grpc-port`, only sets its variable.
`thumbq serve` passes its environment to the servers and gateways that it starts. A variable that begins with `THUMBQ_`
and is no setting is named on standard error and ignored; those that Kubernetes sets for a service of that name are
passed over.
The `AWS_` variables of an object store and what a `DATABASE_URL` may hold are in [operations.md](operations.md).

`make settings` writes this page from the declarations: those that several programs read stand in
`server/thumbq_runtime/settings/shared.py`, the others in the `settings.py` of their program or at the option of their
command.
"""
# Commands that start a program: the program's declarations describe them.
STARTERS = {"serve", "server", "gateway"}


@dataclass
class Row:
    """One setting, and the commands behind which a program reads it."""

    variables: tuple[str, ...]
    default: object
    sentence: str
    readers: list[str] = field(default_factory=list)


def rows() -> list[Row]:
    """Return every setting once, in the order of the declarations."""
    found: dict[str, Row] = {}

    def add(reader: str, settings: Iterable[Row]) -> None:
        for row in settings:
            readers = found.setdefault(row.variables[0], row).readers
            if reader not in readers:
                readers.append(reader)

    for program in ("serve", "server", "gateway", "worker"):
        add(program, map(_declared, _settings_in(log_settings)))
    add("", map(_declared, _settings_in(shared)))
    add("serve", map(_declared, _settings_in(thumbq_launcher.settings)))
    add("server", _fields(thumbq_server.settings.Settings))
    add("gateway", _fields(thumbq_gateway.settings.Settings))
    for name, command in typer.main.get_group(app).commands.items():
        if name not in STARTERS and isinstance(command, TyperCommand):
            add(name if name == "worker" else "client commands", _options(command))
    keys = list(map(_declared, (shared.API_KEY, shared.API_KEY_FILE)))
    for reader in ("worker", "client commands", "the SDK"):
        add(reader, keys)
    for row in found.values():
        row.readers = [reader for reader in row.readers if reader]
    return list(found.values())


def page(settings: Iterable[Row]) -> str:
    """Return the page, with a table for each program and one for what several programs read."""
    tables: dict[str, list[Row]] = {"several programs": [], "server": [], "gateway": []}
    for row in settings:
        title = row.readers[0] if len(row.readers) == 1 else "several programs"
        tables.setdefault(title, []).append(row)
    return "\n".join([HEAD, *(_table(title, members) for title, members in tables.items())])


def _table(title: str, members: Iterable[Row]) -> str:
    several = title == "several programs"
    heading = "Read by several programs" if several else f"Read by `thumbq {title}`"
    columns = ["variable", "default", *(["read by"] if several else []), "meaning"]
    lines = [f"## {heading}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in members:
        names = ", ".join(f"`{name}`" for name in row.variables)
        readers = [", ".join(row.readers)] if several else []
        sentence = row.sentence.replace("<", r"\<").replace("|", r"\|")
        lines.append(f"| {' | '.join([names, _shown(row.default), *readers, sentence])} |")
    return "\n".join([*lines, ""])


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default in ("", (), frozenset()):
        return "none"
    return f"`{int(default) if isinstance(default, float) and default.is_integer() else default}`"


def _settings_in(module: object) -> Iterator[Setting[object]]:
    return (value for value in vars(module).values() if isinstance(value, Setting))


def _declared(setting: Setting[object]) -> Row:
    return Row(setting.variables, setting.shown_default or setting.default, setting.sentence)


def _fields(settings: type[BaseSettings]) -> Iterator[Row]:
    for name, declared in settings.model_fields.items():
        alias = declared.validation_alias
        names = map(str, alias.choices) if isinstance(alias, AliasChoices) else [f"THUMBQ_{name.upper()}"]
        assert declared.description, f"{settings.__module__}: {name} has no sentence"
        yield Row(tuple(names), declared.default, declared.description)


def _options(command: TyperCommand) -> Iterator[Row]:
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and parameter.envvar:
            names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar
            yield Row(tuple(names), parameter.default, parameter.help or "")


if __name__ == "__main__":
    sys.stdout.write(page(rows()))
