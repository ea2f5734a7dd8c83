"""Limits that the kernel keeps, and the end of a child together with its parent."""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Let this process end when its parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker has ended")


def limit_resources(memory: int, largest_file: int) -> None:
    """Bound what this process writes to its own memory; address space that a driver only reserves is free."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # When the machine runs out of memory, this process goes first.
        Path("/proc/self/oom_score_adj").write_text("500")
