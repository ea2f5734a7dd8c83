"""OFF: faces of many corners are cut into triangles, because the reader leaves out those of more than nine."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from thumbq.render.repair.faces.polygons import Corner, Places
from thumbq.render.repair.lines import lines

MOST_CORNERS = 9

Row = list[bytes]


class _Content(NamedTuple):
    """The first line, the counts, and the rows after them: points first, then faces."""

    head: Row
    points: int
    faces: int
    rows: Iterator[Row]


def cut_faces(path: Path) -> None:
    """Rewrite the file when it has faces that the reader would leave out. A file of another layout stays as it is."""
    try:
        added = _triangles_to_add(path)
        if added:
            written = path.with_name("cut.off")
            _write(path, written, added)
            written.replace(path)
    except (ValueError, IndexError):
        return


def _read(path: Path) -> _Content:
    """Read the beginning; raises ValueError or IndexError when it is not that of an OFF in text form."""
    rows = (line.split() for _, line in lines(path))
    head = next(rows, [b""])
    if not head[0].upper().endswith(b"OFF"):
        raise ValueError(head)
    counts = head[1:] or next(rows, [])
    return _Content(head[:1], int(counts[0]), int(counts[1]), rows)


def _triangles_to_add(path: Path) -> int:
    """Count by how many faces the file grows when its wide faces are cut."""
    content = _read(path)
    widths = (int(row[0]) for row in islice(content.rows, content.points, content.points + content.faces))
    return sum(width - 3 for width in widths if width > MOST_CORNERS)


def _write(path: Path, written: Path, added: int) -> None:
    content = _read(path)
    places = Places(needed=True, most_corners=MOST_CORNERS)
    with written.open("wb") as file:
        file.write(b"%b\n%d %d 0\n" % (content.head[0], content.points, content.faces + added))
        for row in islice(content.rows, content.points):
            x, y, z = map(float, row[:3])
            places.keep((x, y, z))
            file.write(b" ".join(row) + b"\n")
        for row in islice(content.rows, content.faces):
            if int(row[0]) <= MOST_CORNERS:
                file.write(b" ".join(row) + b"\n")
            else:
                for triangle in places.simple_polygons(_corners(row)):
                    file.write(b"3 " + b" ".join(b"%d" % (corner[0] - 1) for corner in triangle) + b"\n")


def _corners(row: Row) -> list[Corner]:
    """Return the corners of a face, whose points count from one; raises ValueError when some are missing."""
    count = int(row[0])
    corners = [(int(word) + 1, 0, 0) for word in row[1 : count + 1]]
    if len(corners) < count:
        raise ValueError(row)
    return corners
