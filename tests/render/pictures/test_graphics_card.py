"""A graphics card is used only where it is asked for, and where there is none, one sentence says so."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.graphics_card import DEVICES, check_wall
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.samples import files, things
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
NONE = f"There is no graphics card to render with: {DEVICES} has no device for it."


HAS_CARD = any(DEVICES.glob("renderD*"))


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
async def test_a_card_draws_or_a_sentence_says_that_there_is_none(tmp_path: Path):
    (tmp_path / "a.glb").write_bytes(files.glb(things.pawn()))
    async with Renderer(Limits(), gpu=True) as renderer:
        if HAS_CARD:
            await renderer.start()
            picture = Image.open(io.BytesIO((await renderer.render(tmp_path / "a.glb")).files[0]))
            assert picture.convert("RGBA").getchannel("A").getbbox()
        else:
            with pytest.raises(RenderFailed) as failure:
                await renderer.start()
            assert str(failure.value) == NONE
            assert not failure.value.retryable


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
def test_a_worker_that_is_told_to_use_a_card_ends_where_there_is_none(tmp_path: Path):
    if HAS_CARD:
        return
    options = ["--gpu", f"--models={tmp_path}", f"--thumbnail-root={tmp_path}"]
    command = [sys.executable, "-c", "from thumbq.cli import app; app()", "worker", *options]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"thumbq: {NONE}\n"


@pytest.mark.parametrize("confined", [(), ("seccomp",), ("namespaces", "seccomp")])
def test_a_card_is_not_used_behind_a_wall_that_cannot_tell_its_device_from_other_files(confined: tuple[str, ...]):
    with pytest.raises(RenderFailed, match=r"^A graphics card is used only where Landlock confines the renderer\.$"):
        check_wall(confined)


def test_a_card_is_used_behind_landlock():
    check_wall(("landlock", "seccomp"))


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
async def test_no_device_is_within_reach_unless_it_is_asked_for():
    async with Renderer(Limits()) as renderer:
        await renderer.start()
        assert renderer.pid
        command = Path(f"/proc/{renderer.pid}/cmdline").read_bytes().split(b"\0")
        environment = Path(f"/proc/{renderer.pid}/environ").read_bytes().split(b"\0")
    assert str(DEVICES).encode() not in command
    assert b"LIBGL_ALWAYS_SOFTWARE=true" in environment
