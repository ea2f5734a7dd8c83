"""Namespaces: a file tree of its own that holds nothing but what is listed, for kernels without Landlock."""

import os
from collections.abc import Sequence
from pathlib import Path

from thumbq.render.sandbox import kernel

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18


def restrict(readable: Sequence[Path], root: Path) -> bool:
    """Forbid every file but those beneath `readable`; False when this process may not make namespaces.

    `root` is an empty folder on which the new tree is built. Writing is forbidden by seccomp.
    """
    if not kernel.is_linux() or kernel.PIVOT_ROOT is None:
        return False
    try:
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(_NEW_USER | _NEW_MOUNTS | _NEW_NETWORK | _NEW_IPC)
        _become(user, group)
        kernel.mount("none", "/", None, _PRIVATE | _RECURSIVE)
        kernel.mount("tmpfs", str(root), "tmpfs", 0)
    except OSError:
        return False
    for path in readable:
        _show(path, root)
    os.chdir(root)
    kernel.call(kernel.PIVOT_ROOT, b".", b".")
    # The old tree now lies over the new one, until it is taken away.
    kernel.detach(".")
    os.chdir("/")
    return True


def _become(user: int, group: int) -> None:
    """Be the same user inside as outside, so that files are as readable as before."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _show(path: Path, root: Path) -> None:
    if not path.exists():
        return
    target = root / path.absolute().relative_to("/")
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(str(path), str(target), None, _BIND | _RECURSIVE)
