"""Earlier releases, built as wheels from their commits. No release is tagged yet, so a commit stands for each."""

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[3]
# The last one whose tables are of revision 0005: tables are renewed while it works on them.
TO_RENEW = "cb9cf36ed4eef45411e75098641c2ae456cd0d96"
# The last one whose tables are of revision 0011, whose code works with our tables: code can go back to it.
TO_GO_BACK_TO = "65eb29a128ea1d5b140cc78c95f8351b551e78c3"
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "server", "gateway", "clients/python")


def are_at_hand() -> bool:
    """Return whether this clone has the commits. A shallow one, or a copy without git, does not."""
    try:
        return not any(_git("cat-file", "-e", f"{commit}^{{tree}}").returncode for commit in (TO_RENEW, TO_GO_BACK_TO))
    except FileNotFoundError:
        return False


def install(commit: str, folder: Path) -> str:
    """Build the wheel of a commit and install it into a folder, which is returned as the PYTHONPATH of its programs.

    The packages that it needs are those of this environment.
    """
    source, wheels, installed = folder / "source", folder / "wheels", folder / "installed"
    archive = _git("archive", commit, *_SOURCES)
    assert not archive.returncode, archive.stderr
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(source, filter="data")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], cwd=source, check=True)
    [wheel] = wheels.iterdir()
    with zipfile.ZipFile(wheel) as files:
        files.extractall(installed)
    return str(installed)


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", "-C", PROJECT, *arguments], check=False, capture_output=True)
