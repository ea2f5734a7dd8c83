"""Stretches of an OBJ file that need no repair, which most lines of most files are: they are copied by the block."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from thumbq.render.repair.lines import is_plain, lines

BLOCK = 1 << 20
LONGEST = 16 << 20
_NUMBER = rb" -?\d+\.?\d*(?:[eE][-+]?\d+)?"
_END = rb"[ \t]?\r?\n"
_KINDS = {
    "v": rb"v(?:%b){3}" % _NUMBER,
    "vt": rb"vt(?:%b){2}" % _NUMBER,
    "vn": rb"vn(?:%b){3}" % _NUMBER,
    "f1": rb"f(?: \d+){3,64}",
    "f2": rb"f(?: \d+/\d+){3,64}",
    "f3": rb"f(?: \d+/\d+/\d+){3,64}",
    "fn": rb"f(?: \d+//\d+){3,64}",
}
# Python 3.11.2, which Debian 12 has, keeps the part that a possessive group has matched before it fails. An atomic
# group within it does not, here and in every other pattern.
_RUN = re.compile(b"|".join(b"(?P<%b>(?:(?>%b%b))++)" % (kind.encode(), line, _END) for kind, line in _KINDS.items()))


class Run(NamedTuple):
    """Lines of one kind in plain spelling, or with kind "" one line that has to be looked at."""

    number: int
    kind: str
    text: bytes


def runs(path: Path) -> Iterator[Run]:
    """Yield the file in runs, each as long as possible."""
    if not is_plain(path):
        yield from (Run(number, "", line) for number, line in lines(path))
        return
    number = 1
    for block in _blocks(path):
        if b"\\" in block:
            yield from (Run(number + at - 1, "", line) for at, line in lines(block))
        else:
            yield from _split(block, number)
        number += block.count(b"\n")


def _blocks(path: Path) -> Iterator[bytes]:
    """Pieces that end where a line ends, and not where it is continued."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            block += file.readline(LONGEST)
            while block.rstrip(b" \r\n").endswith(b"\\") and (more := file.readline(LONGEST)):
                block += more
            yield block


def _split(block: bytes, number: int) -> Iterator[Run]:
    place = 0
    while place < len(block):
        if found := _RUN.match(block, place):
            assert found.lastgroup
            yield Run(number, found.lastgroup, found[0])
            end = found.end()
        else:
            end = block.find(b"\n", place) + 1 or len(block)
            for _, line in lines(block[place:end]):
                yield Run(number, "", line)
        number += block.count(b"\n", place, end)
        place = end
