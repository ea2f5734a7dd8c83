"""Formats that are drawn as they are: whether the file is whole, as far as a look at its counts or its end tells."""

import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.repair.lines import lines

TAIL = 64 << 10
_OTHER_FILES = re.compile(rb"\b(?:DOCUMENT_FILE|APPLIED_EXTERNAL_IDENTIFICATION_ASSIGNMENT)\b", re.IGNORECASE)
_STRING = re.compile(rb"'[^']*'")
_ENTITY = re.compile(rb"#(\d+)\s*=")
_REFERENCE = re.compile(rb"#(\d+)\b")
_WRL_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_WRL_POINTS = re.compile(rb"\bpoint\s*\[([^\]]*)")
_WRL_CORNERS = re.compile(rb"\bcoordIndex\s*\[([^\]]*)")
LARGEST_SEARCHED = 64 << 20
_PCD_FIELD = re.compile(rb"^(SIZE|COUNT|POINTS|WIDTH|HEIGHT|DATA)[ \t]+([^\r\n]+)", re.MULTILINE)


def check(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Move the file to `path` when nothing is missing in it; raises Refused."""
    _CHECKS[path.suffix[1:]](raw)
    if path.suffix == ".step" and _without_other_files(raw):
        companions.remarks.append("Parts that the STEP file keeps in other files are left out.")
    raw.rename(path)


def _without_other_files(raw: Path) -> bool:
    """Whether the file referred to others, which the reader would open wherever they are; it no longer does."""
    with raw.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        places = [found.span() for found in _OTHER_FILES.finditer(content)]
        for start, end in places:
            content[start:end] = b"X" * (end - start)
    return bool(places)


def _step(raw: Path) -> None:
    if not re.search(rb"END-ISO-10303-21\s*;", _tail(raw)):
        raise Refused("The STEP or IFC file is incomplete: its closing line, END-ISO-10303-21, is missing.")


def _ifc(raw: Path) -> None:
    _step(raw)
    if raw.stat().st_size > LARGEST_SEARCHED:
        return
    content = _STRING.sub(b"", raw.read_bytes())
    entities = set(_ENTITY.findall(content))
    # The reader dies of a reference to nothing.
    if missing := set(_REFERENCE.findall(content)) - entities:
        raise Refused(f"The IFC file is damaged: it refers to #{min(map(int, missing))}, which is not there.")


def _iges(raw: Path) -> None:
    if not re.search(rb"^.{72}T[ 0]*1[ \t]*$", _tail(raw).replace(b"\r", b""), re.MULTILINE):
        raise Refused("The IGES file is incomplete: its terminating section is missing.")


def _splat(raw: Path) -> None:
    if raw.stat().st_size % 32:
        raise Refused(f"The Splat file is incomplete: it ends within point {raw.stat().st_size // 32 + 1}.")


def _off(raw: Path) -> None:
    size = raw.stat().st_size
    words: list[bytes] = []
    for _, line in lines(raw):
        words += line.split()
        numbers = [word for word in words[:8] if word.isdigit()]
        if len(numbers) >= 2:
            points, faces = int(numbers[0]), int(numbers[1])
            # Three coordinates of one digit, or a face's count and three corners, with a space after each.
            if 6 * points + 8 * faces > size + 8 and 4 * (points + faces) > size:
                raise Refused(f"The OFF file is incomplete: {size} bytes for {points} points and {faces} faces.")
            return
        if len(words) > 16:
            return


def _wrl(raw: Path) -> None:
    with raw.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"#VRML V1"):
        raise Refused("The file is VRML 1.0; only VRML 2.0 (also called VRML 97) is supported.")
    depth = 0
    for _, line in lines(raw):
        for token in _WRL_TOKEN.finditer(line):
            depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
    if depth > 0:
        raise Refused(f"The VRML file is incomplete: {depth} brackets are not closed.")
    if raw.stat().st_size <= LARGEST_SEARCHED:
        _check_corners(raw.read_bytes())


def _check_corners(content: bytes) -> None:
    """Refuse a VRML file with a face that names a point which no part of the file has: the reader dies of it."""
    points = max((len(found[1].replace(b",", b" ").split()) // 3 for found in _WRL_POINTS.finditer(content)), default=0)
    for found in _WRL_CORNERS.finditer(content):
        last = max((int(word) for word in found[1].replace(b",", b" ").split() if word.isdigit()), default=-1)
        if last >= points:
            raise Refused(f"The VRML file has a face that names point {last}; the most points of a part are {points}.")


def _pcd(raw: Path) -> None:
    with raw.open("rb") as file:
        head = file.read(4096)
    fields = {found[1]: found[2].split() for found in _PCD_FIELD.finditer(head)}
    if b"DATA" not in fields:
        raise Refused("The PCD file is incomplete: it ends within its header.")
    try:
        sizes = [int(size) for size in fields.get(b"SIZE", [])]
        counts = [int(count) for count in fields.get(b"COUNT", [b"1"] * len(sizes))]
        points = int(fields[b"POINTS"][0])
    except (KeyError, IndexError, ValueError) as error:
        raise Refused("The PCD file is damaged: its header does not say how many points there are.") from error
    start = head.index(b"\n", head.index(b"\nDATA") + 1) + 1
    if fields[b"DATA"][0] == b"ascii":
        there = sum(1 for _ in _rows(raw, start))
    elif fields[b"DATA"][0] == b"binary":
        there = (raw.stat().st_size - start) // max(1, sum(map(int.__mul__, sizes, counts)))
    else:
        return
    if there < points:
        raise Refused(f"The PCD file is incomplete: {there} of {points} points.")


def _ptx(raw: Path) -> None:
    numbers = [line for _, line in zip(range(2), (line for _, line in lines(raw)), strict=False)]
    try:
        said = int(numbers[0]) * int(numbers[1])
    except (ValueError, IndexError) as error:
        raise Refused("The PTX file is damaged: it does not begin with two counts.") from error
    there = sum(1 for _ in lines(raw)) - 10
    if there < said:
        raise Refused(f"The PTX file is incomplete: {max(0, there)} of {said} points.")


def _rows(raw: Path, start: int) -> Iterator[bytes]:
    with raw.open("rb") as file:
        file.seek(start)
        while line := file.readline(1 << 16):
            if line.strip():
                yield line


def _tail(raw: Path) -> bytes:
    with raw.open("rb") as file:
        file.seek(max(0, raw.stat().st_size - TAIL))
        return file.read()


_CHECKS: dict[str, Callable[[Path], None]] = {
    "step": _step, "ifc": _ifc, "iges": _iges, "splat": _splat, "off": _off, "wrl": _wrl, "pcd": _pcd,
    "ptx": _ptx,
}  # fmt: skip
CHECKED = tuple(_CHECKS)
