#!/usr/bin/env python3
"""Writes the software bill of materials to standard output, as CycloneDX 1.6 in JSON.

It lists the packages that thumbq needs in this environment with its extras, those that only development needs, the npm
packages of the TypeScript client, and the files of others in third_party. Nothing is asked of a registry.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Together all extras for users: the images have s3.
EXTRAS = {"all", "otel", "s3"}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "thumbq")
VENDORED_ROW = re.compile(r"\| `([^`]+)` \| (\S+) \| ([^|]+?) \| `([0-9a-f]{64})` \|")

Component = dict[str, Any]


def bill() -> dict[str, Any]:
    """Return the whole document. It is the same for the same versions."""
    version = distribution("thumbq").version
    components = [*python_packages(), *npm_packages(), *vendored_files()]
    content = json.dumps([version, components])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": _component("thumbq", version, f"pkg:pypi/thumbq@{version}", kind="application")},
        "components": components,
    }


def python_packages() -> Iterator[Component]:
    """Yield each pinned package: required where thumbq runs, optional where only its development needs it."""
    needed = closure("thumbq", EXTRAS)
    for name, version in pins((ROOT / "constraints.txt").read_text()).items():
        scope = "required" if name in needed else "optional"
        yield _component(name, version, f"pkg:pypi/{name}@{version}", scope=scope, licence=_licence(name))


def pins(constraints: str) -> dict[str, str]:
    """Return the version of each package in the text of a file of constraints, by its canonical name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", constraints, re.MULTILINE)
    return {str(canonicalize_name(name)): version for name, version in found}


def closure(name: str, extras: set[str]) -> set[str]:
    """Return the canonical names of all packages that an installed one needs here, with these extras."""
    found, ahead = set[str](), [(name, frozenset(extras))]
    seen = set[tuple[str, frozenset[str]]]()
    while ahead:
        entry = ahead.pop()
        if entry in seen:
            continue
        seen.add(entry)
        for requirement in _requirements(*entry):
            found.add(str(canonicalize_name(requirement.name)))
            ahead.append((requirement.name, frozenset(requirement.extras)))
    return found


def npm_packages() -> Iterator[Component]:
    """Yield each package that the TypeScript client is built and tested with."""
    lock = json.loads((ROOT / "clients/typescript/package-lock.json").read_text())
    for path, package in sorted(lock["packages"].items()):
        if path:
            name = path.rpartition("node_modules/")[2]
            scope = "optional" if package.get("dev") or package.get("optional") else "required"
            address = f"pkg:npm/{quote(name, safe='/')}@{package['version']}"
            yield _component(name, package["version"], address, scope=scope, licence=package.get("license", ""))


def vendored_files() -> Iterator[Component]:
    """Yield each file of others, as the table in third_party/README.md has it."""
    for path, origin, licence, digest in VENDORED_ROW.findall((ROOT / "third_party/README.md").read_text()):
        component = _component(path, digest[:12], f"pkg:generic/{path}", scope="required", licence=licence, kind="file")
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
        component["externalReferences"] = [{"type": "vcs", "url": f"https://{origin}"}]
        yield component


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:  # for another platform
        return
    for requirement in map(Requirement, texts):
        markers = [{"extra": extra} for extra in (extras or {""})]
        if requirement.marker is None or any(map(requirement.marker.evaluate, markers)):
            yield requirement


def _licence(name: str) -> str:
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return ""
    return next(iter(metadata.get_all("License-Expression") or []), "")


def _component(
    name: str, version: str, address: str, *, scope: str = "", licence: str = "", kind: str = "library"
) -> Component:
    component: Component = {"type": kind, "bom-ref": address, "name": name, "version": version, "purl": address}
    if scope:
        component["scope"] = scope
    if licence:
        component["licenses"] = [{"expression": licence}]
    return component


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    sys.stdout.write("\n")
