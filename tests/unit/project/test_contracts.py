"""The contracts between modules, in pyproject.toml, leave none of our modules out."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINTER = PROJECT["tool"]["importlinter"]
FOLDERS = {
    init.parent.name: init.parent
    for home in ("server", "gateway", "clients/python")
    for init in (ROOT / home).glob("*/__init__.py")
}
LAYERS = [contract for contract in LINTER["contracts"] if contract["type"] == "layers"]
ONLY = [contract for contract in LINTER["contracts"] if contract["name"].startswith("Only ")]


def test_every_package_is_installed_and_checked() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(wheel) == sorted(str(folder.relative_to(ROOT)) for folder in FOLDERS.values())
    assert set(LINTER["root_packages"]) == set(FOLDERS)


@pytest.mark.parametrize("package", FOLDERS)
def test_every_package_has_layers_that_name_all_its_modules(package: str) -> None:
    contracts = [contract for contract in LAYERS if package in contract.get("containers", ())]
    assert contracts
    assert all(contract["exhaustive"] for contract in contracts)


@pytest.mark.parametrize("contract", ONLY, ids=lambda contract: contract["name"])
def test_what_only_some_modules_may_do_is_forbidden_to_all_others(contract: dict[str, Any]) -> None:
    """`Only a, b and c touch x` names each module of the package but a, b and c."""
    named = re.match(r"Only (.+?) touch(es)? ", contract["name"])
    assert named
    permitted = set(re.split(r", | and ", named[1]))
    sources = set(contract["source_modules"])
    for package in {source.partition(".")[0] for source in sources if "." in source}:
        listed = {source.partition(".")[2] for source in sources if source.startswith(f"{package}.")}
        assert listed == modules_of(FOLDERS[package]) - permitted


def modules_of(folder: Path) -> set[str]:
    """The modules and packages in a package's folder."""
    entries = {entry.stem for entry in folder.glob("*.py")} | {entry.parent.name for entry in folder.glob("*/*.py")}
    return entries - {"__init__"}
