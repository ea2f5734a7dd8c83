"""Inspect the processes of this machine, for tests that end some and expect others to end or to restart."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path


def descendants(process: int) -> set[int]:
    """Return the children of a process, their children, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if status := _status(int(entry.name)):
            parents[int(entry.name)] = status[1]
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def is_running(process: int) -> bool:
    """Return whether the process exists and has not ended. A zombie process has ended."""
    status = _status(process)
    return status is not None and status[0] not in "ZX"


def command_line(process: int) -> bytes:
    """Return the command line of the process; empty when it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    """Poll until the condition holds. After `seconds` fail with `what`, a description of the expectation."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def wait_for_end(processes: Iterable[int], seconds: float = 90.0) -> None:
    """Wait until all of the processes have ended."""
    expected = set(processes)
    wait_until(lambda: not any(map(is_running, expected)), f"the end of {sorted(expected)}", seconds)


def _status(process: int) -> tuple[str, int] | None:
    """Return the state and the parent of a process; None when it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])
