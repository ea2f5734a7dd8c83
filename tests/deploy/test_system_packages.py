"""scripts/system_packages.sh installs what it can, and names the rest in one line."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/system_packages.sh"


class Machine:
    """A machine whose PATH has these programs alone, and which knows what they were asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.asked = folder / "asked"

    def has(self, name: str, script: str) -> None:
        program = self._folder / name
        program.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.asked}"\n{script}\n')
        program.chmod(0o755)

    def run(self) -> tuple[int, list[str]]:
        """Run the script. Return its exit code and the lines that it says."""
        ended = subprocess.run(
            ["/bin/bash", SCRIPT],
            env={"PATH": str(self._folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.has("id", "echo 0")
    machine.has("node", "exit 0")
    machine.has("npm", "exit 0")
    return machine


def test_a_package_that_the_distribution_lacks_keeps_no_other_away(machine: Machine) -> None:
    """As chromium on Ubuntu."""
    machine.has("apt-get", 'case "$*" in *chromium*) exit 100; esac')
    code, said = machine.run()
    assert code == 1
    assert said[0].startswith("Installing chromium fonts-liberation ")
    assert said[1:] == ["These could not be installed, and tests that need them are skipped: chromium"]
    asked = machine.asked.read_text().splitlines()
    for package in ("jq", "curl", "iproute2"):
        assert f"apt-get install --yes --quiet --quiet --no-install-recommends {package}" in asked


def test_a_node_that_cannot_be_had_is_all_that_is_named(machine: Machine) -> None:
    machine.has("apt-get", "exit 0")
    machine.has("node", "exit 1")
    machine.has("npm", "exit 1")
    code, said = machine.run()
    assert code == 1
    assert said[-1] == "These could not be installed, and tests that need them are skipped: node 20 or newer"


def test_an_ordinary_user_is_told_what_is_missing_and_what_is_too_old(machine: Machine) -> None:
    machine.has("id", "echo 1000")
    machine.has("node", "exit 1")
    code, [said] = machine.run()
    assert code == 1
    assert said.startswith("Tests that need chromium fonts-liberation ")
    assert said.endswith(" node 20 or newer are skipped. As root on Debian or Ubuntu, this installs what is missing.")
