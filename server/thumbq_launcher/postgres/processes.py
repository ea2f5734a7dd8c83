"""The PostgreSQL processes of a cluster: whether any of them runs, and how they are ended.

The postmaster gets an open, locked file of its cluster, and all its children inherit the file. The lock is
therefore free exactly when the last of them has ended; pid files and process numbers cannot tell that.
"""

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

# Signals to send in turn, each with the seconds to wait after it.
StopSignals = dict[signal.Signals, float]


def take_cluster(cluster: Path) -> int | None:
    """Return a locked file descriptor for the postmaster, or None while PostgreSQL processes use the cluster."""
    held = os.open(cluster / "PG_VERSION", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def end_postgres(cluster: Path, postmaster: int | None, signals: StopSignals) -> bool:
    """Send the postmaster each signal in turn until all processes are gone; return whether they are.

    Its children end with it, and the signals mean other things to them. Only SIGKILL goes to all.
    """
    for sent, seconds in signals.items():
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
    """Return the postmaster that the cluster's pid file names, if it runs and really is of this cluster."""
    try:
        process = int((cluster / "postmaster.pid").read_text().partition("\n")[0])
        # Root in a container lacks CAP_SYS_PTRACE: it can read a process's arguments, but not its folder.
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
    """Return the postmaster's children, and the processes without it that this user may inspect."""
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
