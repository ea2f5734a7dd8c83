"""Ways in which a file goes wrong: by accident on its way, or on purpose."""

import random
import re
from collections.abc import Callable

_NUMBER = re.compile(rb"-?\d+\.?\d*")
_VALUES = (b"0", b"-1", b"1", b"255", b"65536", b"2147483647", b"-2147483648", b"4294967296", b"1e30", b"nan", b"")


def mutate(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four things wrong."""
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(_WAYS)(content, chance) or content
    return content


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, chance: random.Random) -> bytes:
    """Four bytes become a number that is likely to hurt."""
    start = chance.randrange(len(content))
    value = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\0\x80"])
    return content[:start] + value + content[start + 4 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _drop(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randint(1, 64)
    return content[:start] + content[start + length :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randint(1, 400)
    return content[:start] + content[start : start + length] * chance.randint(2, 20) + content[start:]


def _number(content: bytes, chance: random.Random) -> bytes:
    """A number of a text becomes another."""
    numbers = list(_NUMBER.finditer(content, chance.randrange(len(content))))[:500]
    if not numbers:
        return content
    found = chance.choice(numbers)
    return content[: found.start()] + chance.choice(_VALUES) + content[found.end() :]


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _overwrite, _cut, _drop, _repeat, _number, _number, _number,
)  # fmt: skip
