"""The settings of pictures: names of files, refusals, and how pixels are read."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from thumbq.cli import app
from thumbq.render.outputs import DEFAULT, Outputs, parse_up
from thumbq.render.system_libraries import advice, missing_libraries

HASH = "ab" * 32
MISSING = missing_libraries()


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        (DEFAULT, f"{HASH}-512.webp"),
        (Outputs(encoding="jpeg", background="#ffffff"), f"{HASH}-512-ffffff.jpg"),
        (Outputs(camera="front", frames=24), f"{HASH}-512-front-turntable24.webp"),
        (Outputs(front=90, up=parse_up(["z", "obj=-y"])), f"{HASH}-512-front90-+Z-obj-Y.webp"),
    ],
)
def test_a_file_name_carries_the_hash_and_everything_that_changes_the_picture(outputs: Outputs, name: str):
    assert outputs.file_name(HASH, 512) == name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size=8"], "A size is 16 to 1024 pixels."),
        (["--picture-format=gif"], "The picture format is one of webp, png, jpeg, avif."),
        (["--picture-format=jpeg"], "JPEG has no transparency: give a background, such as #ffffff."),
        (["--background=white"], "The background is 'transparent' or a colour such as #f4f4f5."),
        (["--camera=top"], "The camera is one of quarter, iso, front, thumbnail."),
        (["--turntable=500"], "A turntable has 2 to 120 frames."),
        (["--turntable=24", "--picture-format=png"], "A turntable is written as WebP only."),
        (["--up=sideways"], "--up sideways is not understood: y, z, or one for a format, such as obj=z."),
    ],
)
def test_settings_that_cannot_be_met_are_refused_with_a_sentence(arguments: list[str], sentence: str):
    ended = CliRunner().invoke(app, ["worker", "--models=.", "--thumbnail-root=.", *arguments])
    assert ended.exit_code == 2
    assert sentence in " ".join(ended.output.split())


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
def test_pixels_read_from_opengl_are_those_that_f3d_returns():
    """In a process of its own, because f3d must be loaded before anything else."""
    code = """
import f3d
from PIL import ImageChops
from thumbq.render.picture.pixels import Pixels
engine = f3d.Engine.create_egl()
engine.options["render.background.color"] = [0.0, 0.0, 0.0]
engine.scene.add(f3d.Mesh(points=[0, 0, 0, 1, 0, 0, 0, 1, 0], face_sides=[3], face_indices=[0, 1, 2]))
pixels = Pixels(engine.window)
assert pixels.drawn_once
for size in (64, 512, 200):
    quick, slow = pixels.shot(size), pixels._slow(size)
    different = ImageChops.difference(quick, slow).convert("L").histogram()
    assert sum(different[3:]) < size * size / 1000, size
    assert quick.getchannel("A").getextrema() == (0, 255)
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, timeout=50)
