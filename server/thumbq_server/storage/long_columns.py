"""Long columns as a single parameter each, for statements that read them once.

asyncpg asks of each entry of a list whether it is a list itself. That costs several times what PostgreSQL needs to read
the entries from a text (docs/decisions/0078-long-columns.md).
"""

from collections.abc import Sequence

HASH_BYTES = 32
# No path has control characters (domain/paths), so none has this one.
_BETWEEN_PATHS = "\x1f"


def as_numbers(column: Sequence[int]) -> str:
    """Return whole numbers as the text of an array: a statement reads it as `$1::text::bigint[]`."""
    return "{" + str(list(column))[1:-1] + "}"


def as_paths(column: Sequence[str]) -> str:
    """Return paths as one text, which `paths_of` reads. Raises ValueError for one that no check has let pass."""
    together = _BETWEEN_PATHS.join(column)
    if together.count(_BETWEEN_PATHS) > max(0, len(column) - 1):
        raise ValueError("a path has a control character")
    return together


def paths_of(parameter: str) -> str:
    """Return the array of paths that a parameter has, in SQL."""
    return f"string_to_array({parameter}::text, E'\\x1f')"


def hash_at(parameter: str, place: str) -> str:
    """Return the hash at a place, counted from 1, of a parameter that has all hashes one after the other, in SQL."""
    return f"substring({parameter}::bytea FROM ({HASH_BYTES} * ({place} - 1) + 1)::int FOR {HASH_BYTES})"


def of_all(column: str, parameter: str, kind: str) -> str:
    """Return the entry of a column in SQL. One that stands alone in its parameter is that of all rows."""
    return f"coalesce({column}, ({parameter}::{kind}[])[1])"
