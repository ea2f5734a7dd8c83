"""OBJ text in its plain spelling is copied by the block, to the same effect as line by line."""

import random
from pathlib import Path

import pytest

from thumbq.render.files.companions import Companions, FetchedSource
from thumbq.render.files.refusal import Refused
from thumbq.render.repair import obj, obj_runs
from thumbq.render.samples import files, things


def _messy(seed: int) -> bytes:
    """A hundred points and many faces: plain ones, odd ones, and some that name points which come later or never."""
    chance = random.Random(seed)
    rows = [f"v {chance.random():.6f} {chance.random():.6f} {chance.random():.6f}" for _ in range(50)]
    for _ in range(200):
        corners = [chance.randint(1, chance.choice([50, 50, 50, 120])) for _ in range(chance.randint(2, 5))]
        form = chance.choice(["{0}", "{0}", "{0}/{0}", "{0}//{0}", "{0}/{0}/{0}", "-{0}"])
        rows.append("f " + " ".join(form.format(corner) for corner in corners))
        rows.append(chance.choice(["", "# note", "g part", "vt 0.5 0.25", "vn 0 0 1", "v 1 2 3", "s 1", "usemtl m"]))
    return chance.choice(["\n", "\r\n"]).join(rows).encode()


@pytest.mark.parametrize("content", [files.obj(things.pawn()), *(_messy(seed) for seed in range(8))])
def test_blocks_and_lines_come_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    fast, remarks = _repaired(tmp_path, content)
    monkeypatch.setattr(obj_runs, "is_plain", lambda _: False)
    slow, slow_remarks = _repaired(tmp_path, content)
    assert fast == slow
    assert remarks == slow_remarks


@pytest.mark.parametrize("size", [7, 100, 1 << 10])
def test_it_does_not_matter_where_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int):
    content = _messy(3).replace(b"f ", b"f \\\n", 20)
    whole = _repaired(tmp_path, content)
    monkeypatch.setattr(obj_runs, "BLOCK", size)
    assert _repaired(tmp_path, content) == whole


def test_a_line_of_any_length_is_bounded(tmp_path: Path):
    with pytest.raises(Refused, match=r"^Line 1 is longer than 16 MB\.$"):
        _repaired(tmp_path, b"f" + b" 1" * (9 << 20))


def _repaired(folder: Path, content: bytes) -> tuple[list[tuple[object, ...]], list[str]]:
    """The rows of the repaired file, with numbers as numbers."""
    raw, path = folder / "raw", folder / "model.obj"
    raw.write_bytes(content)
    companions = Companions(FetchedSource({}), folder, 1 << 20)
    obj.repair(raw, path, companions, 1 << 20)
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(row[0], *(_number(word) for word in row[1:])) for row in rows], companions.remarks


def _number(word: str) -> object:
    return word if "/" in word else float(word)
