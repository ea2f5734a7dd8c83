"""Every file that thumbq is built from has a version and a hash, and the bill of materials names them all."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    made = subprocess.run([sys.executable, ROOT / "scripts/sbom.py"], check=True, capture_output=True)
    document: dict[str, Any] = json.loads(made.stdout)
    return document


def test_the_bill_has_every_pinned_package_once(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    pinned = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    listed = [part for part in bill["components"] if part["purl"].startswith("pkg:pypi/")]
    assert {part["name"]: part["version"] for part in listed} == pinned
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(references) == len(set(references))


def test_the_bill_tells_what_runs_from_what_only_tests_need(bill: dict[str, Any]) -> None:
    scopes = {part["name"]: part["scope"] for part in bill["components"]}
    assert {scopes[name] for name in ("grpcio", "aiohttp", "asyncpg", "protobuf", "multidict")} == {"required"}
    assert {scopes[name] for name in ("obstore", "opentelemetry-sdk", "f3d")} == {"required"}
    assert {scopes[name] for name in ("pytest", "mypy", "typescript")} == {"optional"}


def test_every_file_of_others_is_listed_unchanged(bill: dict[str, Any]) -> None:
    folder = ROOT / "third_party"
    files = {path for path in folder.rglob("*") if path.is_file()} - {folder / "README.md"}
    kept = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    listed = {part["name"]: part["hashes"][0]["content"] for part in bill["components"] if part["type"] == "file"}
    assert listed == kept


def test_hashes_are_for_the_pinned_versions_and_name_no_address() -> None:
    text = (ROOT / "constraints.hashed.txt").read_text()
    pinned = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    entries = re.split(r"\n(?=\S)", text)
    hashed = {found[1]: (found[2], entry) for entry in entries if (found := PIN.match(entry))}
    # A package that was added by hand gets its hashes with the next `make constraints`.
    differing = {name for name in hashed.keys() & pinned.keys() if hashed[name][0] != pinned[name]}
    assert not differing, "run `make hashes`"
    assert len(hashed) > 50
    assert all("--hash=sha256:" in entry for _, entry in hashed.values())
    assert "://" not in text
