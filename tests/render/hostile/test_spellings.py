"""However the name of a texture is spelled: a file elsewhere is not opened, and one in the folder is found."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests.render.hostile import models as hostile
from tests.render.hostile.spellings import SPELLINGS
from tests.render.hostile.watched import watched
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.intake.model import Intake, Model
from thumbq.render.outputs import Outputs
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
SMALL = Outputs(sizes=(64,))
# The reader makes a name of its own of these, and never finds them.
LOST = ("not there",)


@pytest.fixture(scope="module")
async def unwalled() -> AsyncIterator[Renderer]:
    """What draws where the kernel has neither Landlock nor namespaces: the checks alone keep the file away."""
    async with Renderer(Limits(), walls=()) as renderer:
        await renderer.start()
        yield renderer


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_file_elsewhere_is_opened_without_the_checks_and_never_with_them(
    tmp_path: Path, unwalled: Renderer, spelling: str
):
    (tmp_path / "own").mkdir()
    (tmp_path / "elsewhere").mkdir()
    secret = hostile.secret(tmp_path / "elsewhere" / "secret.png")
    Image.new("RGB", (8, 8)).save(secret.with_suffix(".jpg"))
    word, write = SPELLINGS[spelling]
    model = tmp_path / "own" / f"7.{word}"
    model.write_bytes(write(str(secret)))
    with watched(secret.parent) as watch:
        with suppress(RenderFailed):
            await unwalled.render(model, outputs=SMALL)
        assert watch.opened() == []
        unchecked = unwalled.intake.checked / model.name
        unchecked.write_bytes(model.read_bytes())
        with suppress(RenderFailed):
            await unwalled.draw(Model(unchecked, word, model.name, ()), SMALL)
        assert watch.opened()


@pytest.mark.parametrize("spelling", [spelling for spelling in SPELLINGS if not spelling.endswith(LOST)])
async def test_a_texture_in_the_folder_is_found(tmp_path: Path, intake: Intake, spelling: str):
    content = hostile.secret(tmp_path / "own texture.png").read_bytes()
    word, write = SPELLINGS[spelling]
    (tmp_path / f"7.{word}").write_bytes(write("own texture.png"))
    model = await intake.take_file(tmp_path / f"7.{word}")
    assert not model.remarks
    assert (model.path.parent / "t0").read_bytes() == content


async def test_a_texture_s_name_of_many_thousand_letters_is_given_up(tmp_path: Path, intake: Intake):
    """The reader of binary FBX files would make a short path of it."""
    name = b"/" * 5000 + b"etc/hostname.png"
    content = b"Kaydara FBX Binary  \0\x1a\0" + (7400).to_bytes(4, "little") + b"\x08FileNameS"
    (tmp_path / "7.fbx").write_bytes(content + len(name).to_bytes(4, "little") + name + bytes(9))
    model = await intake.take_file(tmp_path / "7.fbx")
    assert b"hostname" not in model.path.read_bytes()
