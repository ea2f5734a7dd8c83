"""Lines of a text file in any spelling: of any system, with or without a byte order mark, continued or not."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from thumbq.render.files.refusal import Refused

HEAD = 1 << 16
LONGEST_LINE = 16 << 20


def is_plain(path: Path) -> bool:
    """Whether the file has lines that end as on most systems, in an encoding that has ASCII in it, without a mark."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) and (b"\n" in head or b"\r" not in head)


def lines(source: Path | bytes) -> Iterator[tuple[int, bytes]]:
    """Each line with something in it and its number; comments are gone, and continued lines are joined."""
    begun, number = b"", 0
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        for number, raw in enumerate(_raw_lines(file), 1):
            line = raw.strip()
            if b"#" in line:
                line = line.partition(b"#")[0].rstrip()
            if line.endswith(b"\\"):
                begun += line[:-1] + b" "
                if len(begun) > LONGEST_LINE:
                    raise Refused(f"Line {number} is longer than {LONGEST_LINE >> 20} MB.")
                continue
            if begun:
                line, begun = begun + line, b""
            if line:
                yield number, line
    if begun.strip():
        yield number, begun.strip()


def _raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    head = file.read(HEAD)
    file.seek(0)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return (line.encode() for line in io.TextIOWrapper(file, encoding="utf-16", errors="replace"))
    if b"\r" in head and b"\n" not in head:
        return (line.encode("latin-1") for line in io.TextIOWrapper(file, encoding="latin-1"))
    if head.startswith(b"\xef\xbb\xbf"):
        file.seek(3)
    return _bounded_lines(file)


def _bounded_lines(file: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise Refused(f"Line {number} is longer than {LONGEST_LINE >> 20} MB.")
        yield line
