"""What a process that draws has to read besides its models: libraries, drivers, and what the kernel says of itself."""

import os
import sysconfig
from pathlib import Path

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib",
    "/etc/ld.so.cache", "/etc/glvnd", "/usr/share/glvnd", "/etc/drirc", "/usr/share/drirc.d",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/dev/null", "/dev/zero", "/dev/urandom",
)  # fmt: skip


def readable(stage: Path) -> list[Path]:
    """Return the list, with the models of this stage and f3d's cache, which stays empty."""
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = Path(__file__).parents[1]
    places = [stage / "checked", stage / "cache", ours, *map(Path, dict.fromkeys(python)), *map(Path, _SYSTEM)]
    return [place for place in places if os.access(place, os.R_OK)]
