import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


def test_every_dependency_has_an_exact_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {canonicalize_name(Requirement(line).name) for line in declared} - {"thumbq"}
    pinned = re.findall(r"^([a-z0-9-]+)==[0-9.a-z]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert names <= set(pinned)


def test_ci_fails_where_a_test_is_skipped(tmp_path: Path):
    (tmp_path / "test_sound.py").write_text("def test_sound(): pass\n")
    assert run_as_ci(tmp_path).returncode == 0
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_one(): pytest.skip('no browser')\n")
    ci = run_as_ci(tmp_path)
    assert ci.returncode == 1
    assert "no browser" in ci.stdout
    assert "no_such_module" in ci.stdout


def run_as_ci(tests: Path) -> subprocess.CompletedProcess[str]:
    (tests / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = session\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", tests],
        cwd=ROOT,
        env=os.environ | {"PYTEST_ADDOPTS": ci_pytest_options()},
        capture_output=True,
        text=True,
        check=False,
    )


def ci_pytest_options() -> str:
    options = re.search(r'PYTEST_ADDOPTS="([^"]*)"', (ROOT / ".ci/run").read_text())
    assert options
    return options[1]


def test_every_possessive_group_is_atomic_within_for_the_python_of_debian_12():
    """Python 3.11.2 keeps the part that such a group has matched before it fails."""
    folders = [ROOT / "server", ROOT / "gateway", ROOT / "clients" / "python"]
    sources = [path for folder in folders for path in folder.rglob("*.py") if not path.name.endswith("_pb2.py")]
    groups = [group for path in sources for group in re.findall(r".\)[*+?]\+", path.read_text())]
    assert groups
    assert all(group.startswith(")") for group in groups)


@pytest.mark.parametrize("program", ["thumbq_server", "thumbq_gateway"])
def test_a_start_loads_nothing_that_only_some_starts_need(program: str):
    needless = {"alembic", "cryptography.x509", "rich"}
    code = f"import sys, {program}.__main__; print(*sorted({needless} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
