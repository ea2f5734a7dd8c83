"""Settings, metrics, alerts, commands, options and routes that any page names exist in the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from google.api import annotations_pb2

from thumbq.cli import app
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_runtime.access.roles import HUBS, ROUTES
from thumbq_runtime.settings.environment import KNOWN

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
COMMANDS: Any = typer.main.get_group(app)
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
SPAN = r"`([^`\n]+)`"
# Of docker compose.
OF_OTHERS = {"--profile", "--file"}
# Typer gives them to every command, or to the first word.
OF_EACH = {"--help", "--install-completion", "--version"}
# For the tests, not for the programs.
OF_TESTS = {"THUMBQ_TEST_DATABASE_URL"}


@EACH
def test_settings(page):
    # A name that ends in "_" or "…" stands for all that begin so.
    named = set(re.findall(r"\bTHUMBQ_[A-Z_]+", page.read_text()))
    unknown = {name for name in named - KNOWN - OF_TESTS if not name.endswith("_")}
    assert unknown == set()
    assert [name for name in named if name.endswith("_") and not any(known.startswith(name) for known in KNOWN)] == []


@EACH
def test_metrics(page):
    described = set(re.findall(r"^\| `(thumbq_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    named = {re.sub(r"_(sum|count|bucket)$", "", name) for name in re.findall(r"\bthumbq_\w+", page.read_text())}
    packages = {"thumbq_gateway", "thumbq_launcher", "thumbq_runtime", "thumbq_server"}
    # The fixture of thumbq.testing, and the database's table of revisions.
    others = {"thumbq_service", "thumbq_version"}
    assert named - described - packages - others == set()


@EACH
def test_alerts(page):
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert set(re.findall(r"\bThumbq[A-Z]\w+", page.read_text())) <= alerts | {"ThumbqError"}


@EACH
def test_commands_and_their_options(page):
    text = page.read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    typed = re.findall(r"^(?:\S*\$ )?thumbq (.+)", blocks, re.MULTILINE)
    lines = [re.split(" [|#] ", line)[0] for line in (*re.findall(r"`thumbq ([^`]+)`", text), *typed)]
    assert [(line, stranger) for line in lines for stranger in strangers(line)] == []


@EACH
def test_routes(page):
    known = {(verb, re.sub(r"{[^}]*}", "{}", path)) for verb, path in routes()}
    named = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) \[?(/[^`?\s]*)", page.read_text())
    plain = {(verb, re.sub(r"{[^}]*}", "{}", path.replace("]", ""))) for verb, path in named}
    assert {(verb, path) for verb, path in plain if not (path.isascii() and (verb, path) in known)} == set()


@EACH
def test_options_that_stand_alone(page):
    spans = re.findall(SPAN, page.read_text())
    named = {word for span in spans if span.startswith("--") for word in re.findall(r"(?<![\w-])--[a-z-]+", span)}
    known = {option for _, command in commands() for parameter in command.params for option in parameter.opts}
    assert named - known - OF_EACH - OF_OTHERS == set()


@EACH
def test_paths_that_stand_alone(page):
    named = re.findall(r"`(/(?:api|models|model-versions|hubs)/[^`?\s]*)", page.read_text())
    exist = {re.sub(r"{[^}]*}", "{}", path) for _, path in routes()}
    assert {path for path in named if "…" not in path and re.sub(r"{[^}]*}", "{}", path) not in exist} == set()


def test_every_command_stands_on_a_page():
    text = "\n".join(page.read_text() for page in PAGES)
    named = re.findall(r"(?:`|^|\$ |bin/)(thumbq [^`\n]+)", text, re.MULTILINE)
    assert {name for name, _ in commands() if not any(f"{words} ".startswith(f"{name} ") for words in named)} == set()


def commands(command: Any = COMMANDS, name: str = "thumbq") -> Iterator[tuple[str, Any]]:
    """Yield each command with the words that call it."""
    if not hasattr(command, "commands"):
        yield name, command
    for word, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {word}")


def routes() -> Iterator[tuple[str, str]]:
    """Yield the verb and path of each route."""
    yield from (*proto_routes(), *ROUTES, *(("POST", f"{hub}/negotiate") for hub in HUBS))


def strangers(line: str) -> list[str]:
    """Return what a command line names that does not exist: its command, or else options of its command."""
    command = COMMANDS
    words = line.split()
    while hasattr(command, "commands") and words and re.fullmatch(r"[a-z]+", words[0]):
        if words[0] not in command.commands:
            return [words[0]]
        command = command.commands[words.pop(0)]
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    known = {option for parameter in (*command.params, *COMMANDS.params) for option in parameter.opts}
    return [option for option in options if option not in known | OF_EACH]


def proto_routes() -> Iterator[tuple[str, str]]:
    """Yield the verb and path of each route that an RPC has by an annotation."""
    for file in (queue_pb2, notification_pb2, admin_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                for binding in (rule, *rule.additional_bindings):
                    if verb := binding.WhichOneof("pattern"):
                        yield verb.upper(), getattr(binding, verb)


def test_every_failure_drill_is_a_test_that_exists():
    page = (ROOT / "docs/operations.md").read_text()
    drills = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", page)
    assert len(drills) > 10
    assert [name for file, name in drills if f"def {name}(" not in (ROOT / file).read_text()] == []
