"""Knows whether PostgreSQL processes of a cluster are running, whoever started them, and ends them.

The postmaster is given an open, locked file of its cluster, which all its children inherit. So the lock
is free when, and only when, the last of them is gone; pid files and process numbers cannot tell that.
"""

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

Patience = dict[signal.Signals, float]


def take_cluster(cluster: Path) -> int | None:
    """A locked file descriptor to hand to the postmaster; None while PostgreSQL processes use the cluster."""
    held = os.open(cluster / "PG_VERSION", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def end_postgres(cluster: Path, postmaster: int | None, patience: Patience) -> bool:
    """Send the postmaster each signal in turn, waiting so many seconds after it; True when all are gone.

    The signals go to the postmaster alone, because they mean other things to its children, which end with it.
    SIGKILL goes to all of them.
    """
    for sent, seconds in patience.items():
        if _is_free(cluster):
            return True
        targets = {postmaster} if postmaster else set[int]()
        if sent is signal.SIGKILL:
            targets |= _processes_of(cluster, postmaster)
        for process in targets:
            _send(process, sent)
        deadline = time.monotonic() + seconds
        while not _is_free(cluster) and time.monotonic() < deadline:
            time.sleep(0.01)
    return _is_free(cluster)


def left_postmaster(cluster: Path) -> int | None:
    """The postmaster that the cluster's pid file names, if it is alive and really that of this cluster."""
    try:
        process = int((cluster / "postmaster.pid").read_text().partition("\n")[0])
        # Unlike a process's folder, its arguments can be read without CAP_SYS_PTRACE (root in a container).
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return process if os.fsencode(cluster) in arguments else None


def _is_free(cluster: Path) -> bool:
    try:
        held = take_cluster(cluster)
    except FileNotFoundError:
        return True
    if held is not None:
        os.close(held)
    return held is not None


def _processes_of(cluster: Path, postmaster: int | None) -> set[int]:
    """The postmaster's children, and those that have lost it as far as this user may look into them."""
    entries = Path("/proc").glob("[0-9]*")
    return {int(entry.name) for entry in entries if _has_parent(entry, postmaster) or _works_in(entry, cluster)}


def _has_parent(process: Path, parent: int | None) -> bool:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def _works_in(process: Path, cluster: Path) -> bool:
    try:
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return program == "postgres" and (process / "cwd").samefile(cluster)
    except OSError:
        return False


def _send(process: int, sent: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, sent)
