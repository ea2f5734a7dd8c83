"""Large JSON texts, decoded in small steps: the thread that decodes one lets others run in between."""

import re
from itertools import islice
from json import JSONDecoder
from typing import Any

_STEP = 16 * 1024  # characters of a list or an object that is decoded in one step
_STRING = r'"(?:(?>[^"\\]++|\\.))*+"?'
# Both also match the rest of a text: a search that fails there would begin again at each of its characters.
_BRACKET = re.compile(rf'(?:(?>[^"\[\]{{}}]++|{_STRING}))*+([\[\]{{}}]|\Z)', re.DOTALL)
_SEPARATOR = re.compile(rf'(?:(?>[^",\[{{]++|{_STRING}))*+([,\[{{]|\Z)'.encode(), re.DOTALL)


class TooDeep(Exception):
    """Lists and objects are nested more deeply than they may be."""


def has_more_separators(text: bytes, most: int) -> bool:
    """Return whether the text has more than `most` commas and opening brackets outside of its strings."""
    return sum(1 for found in islice(_SEPARATOR.finditer(text), most + 1) if found[1]) > most


def decode_in_steps(text: str, decoder: JSONDecoder, most_levels: int) -> object:
    """Return what the text stands for. `decoder` is used for this text only. Raises JSONDecodeError and TooDeep."""
    large = _beginnings_of_large(text, most_levels)
    parts: Any = decoder  # that JSONDecoder consists of these is not in its types
    in_one_step, memo = parts.scan_once, parts.memo

    def scan_once(text: str, start: int) -> tuple[object, int]:
        if start not in large:
            scanned: tuple[object, int] = in_one_step(text, start)
            return scanned
        place = text, start + 1
        if text[start] == "[":
            scanned = parts.parse_array(place, scan_once)
        else:
            scanned = parts.parse_object(place, parts.strict, scan_once, None, None, memo)
        return scanned

    parts.scan_once = scan_once
    return decoder.decode(text)


def _beginnings_of_large(text: str, most_levels: int) -> set[int]:
    """Return where the lists and objects begin that are too long for one step. Raises TooDeep."""
    large, opened = set(), []
    for found in _BRACKET.finditer(text):
        if not found[1]:
            break
        if found[1] in "[{":
            opened.append(found.end() - 1)
            if len(opened) > most_levels:
                raise TooDeep
        elif opened and found.end() - opened[-1] > _STEP:
            large.add(opened.pop())
        elif opened:
            opened.pop()
    return large.union(opened)
