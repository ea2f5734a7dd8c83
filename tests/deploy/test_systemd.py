"""The units of deploy/systemd are valid, and name only commands, options and variables that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.declared import assert_read, command

ROOT = Path(__file__).parents[2]
UNITS, DOCS = sorted((ROOT / "deploy/systemd").glob("*.service")), ROOT / "docs"
INSTALLED = "/opt/thumbq/bin/thumbq"


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.+)$", unit.read_text(), re.MULTILINE)


def test_there_is_a_unit_for_each_program():
    assert [unit.stem for unit in UNITS] == ["thumbq-gateway", "thumbq-server", "thumbq-worker"]


def test_the_documentation_names_no_other_unit():
    lines = [line for page in DOCS.glob("*.md") for line in page.read_text().splitlines() if "systemctl" in line]
    named = {name for line in lines for name in re.findall(r"(?<![\w/.-])thumbq[\w-]*", line)}
    assert named == {unit.stem for unit in UNITS}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_with_options_and_variables_that_it_has(unit):
    [line] = values(unit, "ExecStart")
    program, *words = line.split()
    assert program == INSTALLED
    assert f"thumbq-{words[0]}" == unit.stem
    command(words)
    assert_read(words, dict(line.split("=", 1) for line in values(unit, "Environment")))


def test_prometheus_finds_the_worker_beside_the_ports_of_several_servers():
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    ports = {job["job_name"]: int(job["static_configs"][0]["targets"][0].rpartition(":")[2]) for job in jobs}
    [line] = values(ROOT / "deploy/systemd/thumbq-worker.service", "ExecStart")
    assert f"--metrics-port={ports['thumbq-worker']}" in line.split()
    assert ports["thumbq-worker"] not in range(ports["thumbq-server"], ports["thumbq-server"] + 10)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_secret_that_is_read_is_handed_over(unit):
    handed_over = {credential.split(":")[0] for credential in values(unit, "LoadCredential")}
    assert {line.partition("%d/")[2] for line in values(unit, "Environment") if "%d/" in line} == handed_over


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (Debian: systemd)")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_a_unit_without_a_word(unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(INSTALLED, str(Path(sys.executable).with_name("thumbq"))))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False, timeout=50
    )
    # It also reads the machine's own units, and has complaints of them.
    assert [line for line in checked.stderr.splitlines() if unit.name in line] == []
