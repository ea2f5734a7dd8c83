"""API keys: what is known of each, and which requests for them are refused."""

from datetime import datetime, timedelta
from typing import NamedTuple

from thumbq_server.domain.refusals import Invalid, Refused

MAX_KEY_NAME = 100
# All of them are in the memory of each server.
MOST_KEYS = 1_000
SHORTEST_KEY, LONGEST_KEY = timedelta(seconds=1), timedelta(days=3650)


class KeyRecord(NamedTuple):
    """A key, as the database knows it: never the key itself. `seconds_left` counts from when it was read."""

    prefix: str
    digest: bytes
    role: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    seconds_left: float | None


class NoSuchKey(Refused):
    """There is no key of this prefix."""

    def __init__(self) -> None:
        super().__init__("There is no key with this prefix.")


def check_key_name(name: str) -> str:
    """Return the name of a key without spaces around it. Raises Invalid."""
    stripped = name.strip()
    if not stripped or len(stripped) > MAX_KEY_NAME or "\0" in stripped:
        raise Invalid(f"name must have 1 to {MAX_KEY_NAME} characters")
    return stripped


def check_key_life(life: timedelta | None) -> timedelta | None:
    """Return how long a key is to last, or None for one that does not expire. Raises Invalid."""
    if life is not None and not SHORTEST_KEY <= life <= LONGEST_KEY:
        raise Invalid("expiresAfter must be between one second and ten years")
    return life
