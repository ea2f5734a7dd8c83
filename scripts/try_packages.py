#!/usr/bin/env python3
"""Install the wheel with each extra into an empty environment, run what the extra is for, and print the sizes.

Needs uv. Each supported version of Python is resolved as well, for the platforms that thumbq is published for.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
# f3d needs glibc 2.34 and macOS 14.
PLATFORMS = (
    *("x86_64-manylinux_2_34", "aarch64-unknown-linux-gnu"),
    *("x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"),
)
# What shows that an extra is whole; the command line says in a sentence which extra is missing.
PROBES = {
    "": "import thumbq; thumbq.Worker, thumbq.Client, thumbq.Subscriber",
    "cli": "import thumbq.cli",
    "server": "import thumbq_server.app",
    "gateway": "import thumbq_gateway.app",
    "embedded": "from thumbq_launcher.postgres.programs import installed_programs; next(installed_programs())",
    "render": "import f3d, thumbq.render.jobs.handler",
    "all": "from thumbq.testing import private_service\nwith private_service() as service: print(service.url)",
}


def run(*command: str | Path, **variables: str) -> str:
    """Return what a command prints, or end with what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Try every extra, then every version on every platform."""
    with tempfile.TemporaryDirectory() as folder:
        run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
        (wheel,) = Path(folder).glob("*.whl")
        for extra, probe in PROBES.items():
            environment = Path(folder) / (extra or "none")
            run("uv", "venv", "--quiet", "--python", sys.executable, environment)
            python = environment / "bin" / "python"
            empty = size_of(environment)
            requirement = f"thumbq[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
            run("uv", "pip", "install", "--quiet", "--python", python, requirement)
            run(python, "-P", "-c", probe)
            say(f"{extra or 'no extra':10} {(size_of(environment) - empty) / 1e6:6.0f} MB")
    for version in VERSIONS:
        for platform in PLATFORMS:
            options = ("--quiet", "--only-binary", ":all:", "--extra", "all", "--output-file", os.devnull)
            where = ("--python-version", version, "--python-platform", platform)
            run("uv", "pip", "compile", *options, *where, ROOT / "pyproject.toml", MACOSX_DEPLOYMENT_TARGET="14.0")
        say(f"Python {version}: every platform is resolved")


def say(line: str) -> None:
    """Print a line at once: the next step may take a minute."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def size_of(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


if __name__ == "__main__":
    main()
