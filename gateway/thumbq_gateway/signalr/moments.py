"""Times as these hubs print them."""

from datetime import UTC, datetime


def now() -> str:
    """Return the present time of this machine, as RFC 3339 with Z."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
