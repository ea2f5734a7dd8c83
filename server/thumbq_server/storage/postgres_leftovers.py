"""Ends the PostgreSQL processes of one cluster, whoever started them."""

import os
import select
import signal
import time
from contextlib import ExitStack
from pathlib import Path


def end_postgres(cluster: Path, patience: dict[signal.Signals, float]) -> bool:
    """Send each signal in turn, waiting so many seconds after it; True when no process of the cluster is left.

    The signals go to the postmaster alone, because they mean other things to its children, which end with it;
    only SIGKILL goes to all of them.
    """
    for sent, seconds in patience.items():
        with ExitStack() as opened:
            running = _open_processes(cluster, opened)
            if not running:
                return True
            postmaster = postmaster_pid(cluster)
            for process, handle in running.items():
                if process == postmaster or sent is signal.SIGKILL:
                    _send(handle, sent)
            _wait_for_end(list(running.values()), seconds)
    with ExitStack() as opened:
        return not _open_processes(cluster, opened)


def postmaster_pid(cluster: Path) -> int | None:
    """The process that the cluster's own pid file names; it may be long dead."""
    try:
        return int((cluster / "postmaster.pid").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None


def _open_processes(cluster: Path, opened: ExitStack) -> dict[int, int]:
    """The pid and pidfd of each PostgreSQL process that works in the cluster's folder."""
    processes = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _works_in(entry, cluster):
            try:
                handle = os.pidfd_open(int(entry))
            except ProcessLookupError:
                continue
            opened.callback(os.close, handle)
            # Once more, now that the number can no longer pass to another process.
            if _works_in(entry, cluster):
                processes[int(entry)] = handle
    return processes


def _works_in(process: str, cluster: Path) -> bool:
    try:
        program = Path(os.readlink(f"/proc/{process}/exe").removesuffix(" (deleted)"))
        return program.name == "postgres" and os.path.samefile(f"/proc/{process}/cwd", cluster)
    except OSError:
        return False


def _send(handle: int, sent: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, sent)
    except ProcessLookupError:
        pass


def _wait_for_end(handles: list[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    waiting = len(handles)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(left * 1000):
            poll.unregister(handle)
            waiting -= 1
