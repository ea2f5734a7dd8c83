"""docs/clients.md lists every call of the protocol, and names only methods that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import thumbq
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/clients.md"
TYPESCRIPT = ROOT / "clients/typescript/src/api.ts"
NONE = "–"


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text().splitlines():
        if re.match(r"\| [A-Z]", line):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_call_of_the_protocol_has_one_row():
    files = (queue_pb2, notification_pb2, admin_pb2)
    calls = [
        method.name
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    assert sorted(row[0] for row in rows()) == sorted(calls)


def test_what_no_client_offers_has_its_reason():
    for call, python, typescript, reason in rows():
        assert reason or NONE not in (python, typescript), call


def test_the_methods_of_the_python_client_exist_and_all_are_named():
    named = {name for _, python, *_ in rows() for name in re.findall(r"`([\w.]+)`", python)}
    for name in named:
        kind, _, method = name.partition(".")
        assert callable(getattr(getattr(thumbq, kind), method or "__init__")), name
    existing = {f"Client.{name}" for name in vars(thumbq.Client) if not name.startswith("_")}
    assert existing <= named


def test_the_methods_of_the_typescript_client_exist_and_all_are_named():
    named = {name for _, _, typescript, _ in rows() for name in re.findall(r"`(\w+)`", typescript)}
    existing = set(re.findall(r"^  (?:async )?(\w+)\(", TYPESCRIPT.read_text(), re.MULTILINE)) - {"constructor"}
    assert named == existing
