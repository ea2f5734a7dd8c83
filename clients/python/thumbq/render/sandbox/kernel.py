"""Calls of the Linux kernel that Python has no name for."""

import ctypes
import os
import platform
import sys

PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)

# Numbers that are the same on every architecture; the others stand in seccomp.py.
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(platform.machine())
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446


def is_linux() -> bool:
    """Whether there is anything to call."""
    return sys.platform == "linux"


def call(number: int, *arguments: object) -> int:
    """Make a system call by its number; raises OSError."""
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    return _checked(result)


def prctl(option: int, value: int) -> None:
    """Change a property of this process; raises OSError."""
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def unshare(flags: int) -> None:
    """Leave the namespaces that this process shares with others; raises OSError."""
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Mount a file system; raises OSError."""
    _checked(
        _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), None)
    )


def detach(target: str) -> None:
    """Unmount lazily; raises OSError."""
    _checked(_libc.umount2(target.encode(), 2))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
