"""Names in binary FBX and in STEP files are replaced where they stand, so that nothing else in the file moves."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from thumbq.render.intake.model import Intake

MODELS = Path(__file__).parents[1] / "models"
FBX = b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400)


def _property(word: bytes, name: str) -> bytes:
    """Return a node's name and its one property, a string, as a binary FBX has them."""
    return word + b"S" + struct.pack("<I", len(name)) + name.encode() + b"after"


@pytest.mark.parametrize("word", [b"FileName", b"Filename", b"RelativeFilename"])
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("wood.png", "t0      "),
        ("C:\\textures\\wood.png", "t0                  "),
        ("gone.png", "none    "),
        ("../wood.png", "t0         "),
        ("/etc/hostname", "none         "),
        ("x", "-"),
        ("", ""),
    ],
)
async def test_the_name_of_a_texture_in_a_binary_fbx_becomes_our_own_in_its_place(
    tmp_path: Path, intake: Intake, word: bytes, name: str, own: str
):
    Image.new("RGB", (4, 4)).save(tmp_path / "wood.png")
    (tmp_path / "a.fbx").write_bytes(FBX + _property(word, name))
    model = await intake.take_file(tmp_path / "a.fbx")
    assert model.path.read_bytes() == FBX + word + b"S" + struct.pack("<I", len(own)) + own.encode() + b"after"


async def test_a_length_beyond_the_end_of_a_binary_fbx_changes_nothing(tmp_path: Path, intake: Intake):
    content = FBX + b"FileNameS" + struct.pack("<I", 4000) + b"wood.png"
    (tmp_path / "a.fbx").write_bytes(content)
    assert (await intake.take_file(tmp_path / "a.fbx")).path.read_bytes() == content


@pytest.mark.parametrize("word", ["DOCUMENT_FILE", "APPLIED_EXTERNAL_IDENTIFICATION_ASSIGNMENT", "document_file"])
async def test_a_step_file_no_longer_refers_to_other_files_and_the_worker_says_so(
    tmp_path: Path, intake: Intake, word: str
):
    content = (MODELS / "part.stp").read_text()
    head, _, tail = content.rpartition("ENDSEC;")
    other = f"#9001 = {word}('/etc/hostname','',$,$,'','');\n"
    (tmp_path / "a.step").write_text(f"{head}{other}ENDSEC;{tail}")
    model = await intake.take_file(tmp_path / "a.step")
    expected = f"{head}{other.replace(word, 'X' * len(word))}ENDSEC;{tail}"
    assert model.path.read_text() == expected
    assert model.remarks == ("Parts that the STEP file keeps in other files are left out.",)


async def test_a_step_file_without_other_files_stays_as_it_is(tmp_path: Path, intake: Intake):
    content = (MODELS / "part.stp").read_bytes()
    (tmp_path / "a.step").write_bytes(content)
    model = await intake.take_file(tmp_path / "a.step")
    assert model.path.read_bytes() == content
    assert model.remarks == ()
