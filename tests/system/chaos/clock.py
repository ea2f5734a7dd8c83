"""The wall clock of one program, which can jump. It needs Debian's package faketime.

The monotonic clock goes on as it is: no operator can set that one.
"""

from pathlib import Path

_LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)

# Whether clocks jump at all.
AVAILABLE = _LIBRARY is not None


class Clock:
    """The clock of a program that was started with this environment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that put the program under this clock; none where faketime is not installed."""
        if _LIBRARY is None:
            return {}
        return {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: float) -> None:
        """Set the clock to this number of seconds from the true time."""
        self._path.write_text(f"{seconds:+f}\n")
