"""Landlock: from here on this process opens nothing but what is listed (Linux 5.13 and newer)."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from thumbq.render.sandbox import kernel

WRITE_FILE, READ_FILE, READ_DIR, CONTROL_DEVICE = 1 << 1, 1 << 2, 1 << 3, 1 << 15
# To write, remove, make, move and cut files; of what can be made, plain files and folders.
_WRITING = 0b0111_1111_1111_0010
_WRITING_PLAIN_FILES = 0b0110_0001_1011_0010
_ASK_VERSION = 1
_PATH_BENEATH = 1

# How many rights over files each version of the interface knows; later versions know as many as the last.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK = 0b11  # to bind and to connect TCP ports, from version 4
_SCOPES = 0b11  # abstract sockets of others and signals to others, from version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def restrict(readable: Sequence[Path], _root: Path, devices: Path | None = None) -> bool:
    """Forbid every file but those beneath `readable`, which can be read; False when the kernel has no Landlock.

    The files beneath `devices` can be read, written and controlled.
    """
    version = _version()
    if not version:
        return False
    rules = _Ruleset(_known_rights(version), _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    allowed = {path: READ_FILE | (READ_DIR if path.is_dir() else 0) for path in readable}
    if devices:
        allowed[devices] = (WRITE_FILE | READ_FILE | READ_DIR | CONTROL_DEVICE) & _known_rights(version)
    _apply(rules, allowed)
    return True


def restrict_writing(writable: Path) -> bool:
    """Forbid to change files that are not beneath `writable`; False when the kernel has no Landlock."""
    version = _version()
    if not version:
        return False
    known = _known_rights(version)
    _apply(_Ruleset(_WRITING & known, 0, 0), {writable: _WRITING_PLAIN_FILES & known})
    return True


def _apply(rules: _Ruleset, allowed: Mapping[Path, int]) -> None:
    size = ctypes.c_size_t(ctypes.sizeof(rules))
    ruleset = kernel.call(kernel.LANDLOCK_CREATE_RULESET, ctypes.byref(rules), size, 0)
    try:
        for path, rights in allowed.items():
            _allow(ruleset, path, rights)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.call(kernel.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _known_rights(version: int) -> int:
    return (1 << _RIGHTS[min(version, 5)]) - 1


def _version() -> int:
    if not kernel.is_linux():
        return 0
    try:
        return kernel.call(kernel.LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    except OSError:
        return 0


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        beneath = _Beneath(rights, descriptor)
        kernel.call(kernel.LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(descriptor)
