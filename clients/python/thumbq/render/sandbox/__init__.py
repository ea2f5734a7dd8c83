"""Takes away from a process what drawing does not need: other people's files, the network, writing, new processes."""

from collections.abc import Callable, Sequence
from pathlib import Path

from thumbq.render.sandbox import landlock, namespaces
from thumbq.render.sandbox.seccomp import forbid_system_calls

# The first that the kernel has is used; both keep every file out of reach that is not on a list.
WALLS: dict[str, Callable[[Sequence[Path], Path], bool]] = {
    "landlock": landlock.restrict,
    "namespaces": namespaces.restrict,
}


def enter(readable: Sequence[Path], walls: Sequence[str], root: Path, devices: Path | None = None) -> list[str]:
    """Confine this process for good, and return the names of what confines it; it must have one thread still.

    `root` is an empty folder that namespaces may need. `devices` is a folder whose files can be opened for writing,
    too; only Landlock can tell it from the others.
    """
    if devices:
        wall = "landlock" if landlock.restrict(readable, root, devices) else None
    else:
        wall = next((name for name in walls if WALLS[name](readable, root)), None)
    parts = [wall] if wall else []
    if forbid_system_calls(changing=True, writing=not (devices and wall)):
        parts.append("seccomp")
    return parts
