"""What a process of ours may answer. A hostile file may have taken it over, so each answer is checked."""

import json
from collections.abc import Collection
from typing import Any

LONGEST_LINE = 4 << 20  # bytes
# All pictures of a model together: more than the largest animation has.
_MOST_CONTENT = 64 << 20  # bytes
_SINGLE: dict[str, type] = {
    **dict.fromkeys(("ready", "retryable", "no_room"), bool),
    **dict.fromkeys(("failure", "path", "format", "name"), str),
    "bytes": int,
    "seconds": dict,
}
# Each becomes a label of the metrics.
_STAGES = {"load", "frame", "draw", "encode"}
# Of lists, the kind of what they hold.
_LISTS: dict[str, type] = {"remarks": str, "wants": str, "confined": str, "pictures": int}


def read_answer(line: bytes, needed: Collection[str]) -> dict[str, Any]:
    """Return the answer in a line: a failure, or one with the fields `needed`. Raises ValueError for any other line."""
    try:
        answer = json.loads(line)
    except RecursionError:
        raise ValueError("the answer has too many levels") from None
    if not isinstance(answer, dict) or not all(_fits(name, value) for name, value in answer.items()):
        raise ValueError("the answer has something of another kind")
    if not answer.get("failure") and not answer.keys() >= set(needed):
        raise ValueError("the answer lacks something")
    if not 0 <= answer.get("bytes", 0) <= _MOST_CONTENT:
        raise ValueError("the answer announces too much")
    return answer


def _fits(name: str, value: object) -> bool:
    if kind := _LISTS.get(name):
        return isinstance(value, list) and all(isinstance(one, kind) for one in value)
    if name == "seconds" and isinstance(value, dict):
        return value.keys() <= _STAGES and all(isinstance(one, float) for one in value.values())
    return isinstance(value, _SINGLE.get(name, object))
