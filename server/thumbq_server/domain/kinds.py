"""The rules for the kind of a job, and for its options."""

import json
import math
from collections.abc import Sequence

from thumbq_server.domain.job import MODEL
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_at_most

MAX_KIND, MAX_KINDS = 50, 20

MAX_OPTIONS, MAX_OPTION_LEVELS, MAX_OPTION_VALUES = 4096, 5, 256
# The most bytes of options on the wire. Larger ones have more than MAX_OPTIONS bytes of JSON, or too many values.
MAX_OPTIONS_MESSAGE = 16 * 1024
# Up to here a double tells each whole number from the next.
_EXACT = 2**53

_to_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def check_kind(kind: str) -> str:
    """Return the kind of a job, Model when none is named; raise Invalid when it is too long or not printable."""
    if len(kind) > MAX_KIND or not kind.isprintable() or kind != kind.strip():
        raise Invalid(f"assetType must have 1 to {MAX_KIND} printable characters, without spaces around them")
    return kind or MODEL


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that a worker takes, sorted; () stands for Models alone. Raise Invalid."""
    check_at_most(kinds, "assetTypes", MAX_KINDS)
    if "" in kinds:
        raise Invalid("assetTypes must not name an empty kind")
    named = tuple(sorted(set(map(check_kind, kinds))))
    return () if named == (MODEL,) else named


def check_options(options: object) -> str | None:
    """Return options as canonical JSON, None for an empty object; raise Invalid when they are too large."""
    counted = _Counted()
    plain = counted.plain(options, MAX_OPTION_LEVELS)
    if not isinstance(plain, dict):
        raise Invalid("options must be an object")
    text = _to_json(plain)
    if len(text.encode()) > MAX_OPTIONS:
        raise Invalid(f"options have {len(text.encode())} bytes as JSON; at most {MAX_OPTIONS} are taken")
    return text if plain else None


class _Counted:
    """Copies JSON, and counts its values. Whole numbers lose the point that they have as doubles."""

    def __init__(self) -> None:
        self._values = 0

    def plain(self, value: object, levels: int) -> object:
        self._values += 1
        if self._values > MAX_OPTION_VALUES + 1:
            raise Invalid(f"options have more than {MAX_OPTION_VALUES} values")
        if isinstance(value, float):
            return _number(value)
        if isinstance(value, dict | list) and not levels:
            raise Invalid(f"options have more than {MAX_OPTION_LEVELS} levels")
        if isinstance(value, dict):
            return {name: self.plain(member, levels - 1) for name, member in value.items()}
        if isinstance(value, list):
            return [self.plain(member, levels - 1) for member in value]
        return value


def _number(value: float) -> float | int:
    if not math.isfinite(value):
        raise Invalid("options must not have infinite numbers")
    return int(value) if value == int(value) and abs(value) <= _EXACT else value
