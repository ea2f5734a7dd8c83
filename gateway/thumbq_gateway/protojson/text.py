"""JSON text to values, bounded in the cost of decoding it. No number is rounded."""

import json
import re
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import NoReturn

from thumbq_gateway.protojson.steps import TooDeep, decode_in_steps, has_more_separators
from thumbq_gateway.protojson.values import InvalidValue

# 10,000 results have about 120,000 values. A value that the contract does not know costs as much as one that it does.
MOST_VALUES = 150_000
MOST_LEVELS = 100
LARGE = 64 * 1024  # bytes; a larger text takes more than a few milliseconds
_LONGEST_NUMBER = 100  # characters
_STRING = re.compile(rb'"(?:(?>[^"\\]++|\\.))*+"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _STEPS.keys())


def parse_json(body: bytes) -> object:
    """Parse a body; an empty one is an empty object. A fraction becomes a Decimal. Raises InvalidValue."""
    _check_cost(body)
    is_large = len(body) > LARGE
    try:
        if not is_large and is_too_deep(body):
            raise TooDeep
        text = body.decode("utf-8-sig")
        if not text or text.isspace():
            return {}
        return decode_in_steps(text, _decoder(), MOST_LEVELS) if is_large else _decode(text)
    except TooDeep:
        raise InvalidValue(f"has more than {MOST_LEVELS} levels") from None
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InvalidValue(problem) from None
    except UnicodeDecodeError:
        raise InvalidValue("is not valid UTF-8") from None


def is_too_deep(text: bytes) -> bool:
    """Return whether lists and objects are nested more deeply than MOST_LEVELS."""
    if text.count(b"[") + text.count(b"{") <= MOST_LEVELS:
        return False
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MOST_LEVELS


def _check_cost(body: bytes) -> None:
    """Refuse a body with more values than a request can use. It is cheap, and is done before anything is decoded."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= MOST_VALUES:
        return
    # A text may hold many commas. There are at least half as many values as strings.
    if body.count(b'"') > 4 * MOST_VALUES or has_more_separators(body, MOST_VALUES):
        raise InvalidValue(f"has more than {MOST_VALUES:,} values")


def _read_whole_number(text: str) -> int:
    return int(_bounded(text))


def _read_fraction(text: str) -> Decimal:
    try:
        return Decimal(_bounded(text))
    except InvalidOperation:
        raise InvalidValue(f"is not valid JSON: {text} is out of range") from None


def _bounded(number: str) -> str:
    if len(number) > _LONGEST_NUMBER:
        raise InvalidValue(f"is not valid JSON: a number has more than {_LONGEST_NUMBER} characters")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidValue(f"is not valid JSON: {name} is not a number")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_int=_read_whole_number, parse_float=_read_fraction, parse_constant=_refuse_constant)


_decode = _decoder().decode
