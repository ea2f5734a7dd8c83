"""The pictures of the contact sheet, and of models that are hard to show: each is looked at as a person would."""

import io
import json
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.render.gallery.catalogue import write_gallery
from tests.render.gallery.clouds import ply, shell
from tests.render.gallery.hard import CORNERS, EDGES, MODELS, gltf_of, stray
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.outputs import CAMERAS, SIZE, Outputs, parse_up
from thumbq.render.samples import files, things
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))

LIGHT, DARK = (255, 255, 255), (17, 19, 24)
ENCODERS = {"glb": files.glb, "obj": files.obj, "stl": files.stl, "fbx": files.fbx}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.mark.parametrize("ninth", range(9))
async def test_every_model_of_the_contact_sheet_can_be_seen_and_fills_its_picture(
    renderer: Renderer, gallery: list[Path], ninth: int
):
    assert len(gallery) >= 60
    unseen = []
    for model in gallery[ninth::9]:
        picture = _opened((await renderer.render(model)).files[0])
        left, top, right, bottom = _box(picture)
        filled = max(right - left, bottom - top) / SIZE
        if not (0.8 < filled <= 1 and _seen(picture, LIGHT) > 0.005 and _seen(picture, DARK) > 0.005):
            unseen.append((model.name, filled, _seen(picture, LIGHT), _seen(picture, DARK)))
    assert not unseen


@pytest.mark.parametrize("distance", [100.0, 1e4, 1e6])
@pytest.mark.parametrize("word", ENCODERS)
async def test_a_far_point_does_not_decide_the_frame(renderer: Renderer, tmp_path: Path, word: str, distance: float):
    alone, beside = tmp_path / f"alone.{word}", tmp_path / f"beside.{word}"
    alone.write_bytes(ENCODERS[word](things.pawn()))
    beside.write_bytes(ENCODERS[word]([*things.pawn(), stray(distance)]))
    expected = _silhouette(_opened((await renderer.render(alone)).files[0]))
    found = _silhouette(_opened((await renderer.render(beside)).files[0]))
    # The perspective may be a little flatter; a frame that is off by a tenth differs in more than 0.1.
    assert ImageStat.Stat(ImageChops.difference(expected, found)).mean[0] / 255 < 0.04


@pytest.mark.parametrize("distance", [100.0, 1e4, 1e6])
async def test_a_cloud_is_framed_without_its_outliers(renderer: Renderer, tmp_path: Path, distance: float):
    cloud = shell(6000)
    far = [((distance, 0.0, 0.0), (0, 0, 0)), ((0.0, -distance, distance), (0, 0, 0))]
    model = tmp_path / "cloud.ply"
    model.write_bytes(ply([*cloud, *far]))
    left, top, right, bottom = _box(_opened((await renderer.render(model)).files[0]))
    assert max(right - left, bottom - top) > 0.8 * SIZE


async def test_parts_that_lie_apart_are_all_in_the_picture(renderer: Renderer, tmp_path: Path):
    """None of eight small balls holds so little of the surface that it could be left out."""
    ball = things.pawn()
    balls = [part.moved(30 * x, 30 * y, 30 * z) for x, y, z in CORNERS for part in ball]
    model = tmp_path / "apart.glb"
    model.write_bytes(files.glb(balls))
    alpha = _opened((await renderer.render(model)).files[0]).getchannel("A")
    assert _islands(alpha) == len(CORNERS)


@pytest.mark.parametrize("name", ["white-sheet.glb", "black-sheet.glb", "points.gltf", "lines.gltf"])
async def test_a_model_without_contrast_is_set_off(renderer: Renderer, tmp_path: Path, name: str):
    """Its outline differs clearly from the page, whatever the page's colour."""
    model = tmp_path / name
    model.write_bytes(MODELS[name]())
    picture = _opened((await renderer.render(model)).files[0])
    for ground in (LIGHT, DARK):
        assert _most_difference(picture, ground) > 60


@pytest.mark.parametrize("mode", [0, 1])
async def test_points_and_lines_are_thick_enough_to_be_seen(renderer: Renderer, tmp_path: Path, mode: int):
    indices = list(range(8)) if mode == 0 else [corner for edge in EDGES for corner in edge]
    model = tmp_path / "model.gltf"
    model.write_bytes(gltf_of(mode, indices))
    for size in (64, 1024):
        pictures = await renderer.render(model, outputs=Outputs(sizes=(size,)))
        alpha = _opened(pictures.files[0]).getchannel("A")
        assert sum(alpha.histogram()[128:]) > 0.01 * size * size


async def test_a_sheet_is_shown_from_another_side_than_its_edge(renderer: Renderer, tmp_path: Path):
    model = tmp_path / "floor.obj"
    model.write_bytes(b"v -1 0 -1\nv 1 0 -1\nv 1 0 1\nv -1 0 1\nf 1 2 3 4\n")
    front, usual = [
        (await renderer.render(model, outputs=Outputs(camera=camera))).files for camera in ("front", "quarter")
    ]
    assert front == usual


async def test_what_cannot_be_seen_is_never_a_picture(renderer: Renderer, tmp_path: Path):
    """A model of perfectly clear glass has surfaces, but none is visible."""
    content = files.glb(things.pawn())
    length = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + length])
    document["materials"][0]["alphaMode"] = "BLEND"
    document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0]
    document["buffers"][0]["uri"] = "model.bin"
    (tmp_path / "model.bin").write_bytes(content[28 + length :])
    model = tmp_path / "model.gltf"
    model.write_text(json.dumps(document))
    with pytest.raises(RenderFailed, match=r"nothing to see in it\.$") as failure:
        await renderer.render(model)
    assert not failure.value.retryable


async def test_a_background_decides_what_can_be_seen(renderer: Renderer, tmp_path: Path):
    model = tmp_path / "white.glb"
    model.write_bytes(MODELS["white-sheet.glb"]())
    (content,) = (await renderer.render(model, outputs=Outputs(background="#20242c"))).files
    picture = Image.open(io.BytesIO(content))
    assert picture.getpixel((2, 2)) == pytest.approx((0x20, 0x24, 0x2C), abs=6)
    assert ImageStat.Stat(picture.convert("L").crop((250, 250, 262, 262))).mean[0] > 200


@pytest.mark.parametrize(("encoding", "kind"), [("webp", "WEBP"), ("png", "PNG"), ("jpeg", "JPEG"), ("avif", "AVIF")])
async def test_several_sizes_are_made_at_once_in_any_format(
    renderer: Renderer, tmp_path: Path, encoding: str, kind: str
):
    model = tmp_path / "rocket.glb"
    model.write_bytes(files.glb(things.rocket()))
    outputs = Outputs(sizes=(256, 64, 700), encoding=encoding, background="#ffffff" if encoding == "jpeg" else None)
    pictures = await renderer.render(model, outputs=outputs)
    opened = [Image.open(io.BytesIO(content)) for content in pictures.files]
    assert [(image.format, image.size) for image in opened] == [(kind, (s, s)) for s in (256, 64, 700)]
    assert set(pictures.seconds) == {"load", "frame", "draw", "encode"}


async def test_a_turntable_turns_in_one_frame(renderer: Renderer, tmp_path: Path):
    model = tmp_path / "cup.glb"
    model.write_bytes(files.glb(things.teacup()))
    pictures = await renderer.render(model, outputs=Outputs(sizes=(128,), frames=12))
    animation = Image.open(io.BytesIO(pictures.files[0]))
    assert (animation.format, getattr(animation, "n_frames", 1)) == ("WEBP", 12)
    boxes, frames = [], []
    for number in range(12):
        animation.seek(number)
        frames.append(animation.convert("RGBA"))
        boxes.append(_box(frames[-1]))
    assert len({frame.tobytes() for frame in frames}) == 12
    # The saucer is round: it stays where it is while the handle goes around.
    assert max(box[3] for box in boxes) - min(box[3] for box in boxes) <= 6
    assert all(box[0] > 0 and box[1] > 0 and box[2] < 128 and box[3] < 128 for box in boxes)


async def test_cameras_front_and_up_show_other_sides(renderer: Renderer, tmp_path: Path):
    model = tmp_path / "house.obj"
    model.write_bytes(files.obj(things.house()))
    choices = [Outputs(camera=camera) for camera in CAMERAS]
    choices += [Outputs(front=90), Outputs(up=parse_up(["z"]))]
    pictures = [(await renderer.render(model, outputs=choice)).files[0] for choice in choices]
    assert len(set(pictures)) == len(choices)
    only_stl = Outputs(up=parse_up(["stl=z"]))
    assert (await renderer.render(model, outputs=only_stl)).files[0] == pictures[0]


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGBA")


def _silhouette(picture: Image.Image) -> Image.Image:
    return picture.getchannel("A").point(lambda alpha: 255 if alpha > 200 else 0)


def _box(picture: Image.Image) -> Sequence[int]:
    box = picture.getchannel("A").point(lambda alpha: 255 if alpha > 40 else 0).getbbox()
    assert box
    return box


def _difference(picture: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    plain = Image.new("RGB", picture.size, ground)
    shown = plain.copy()
    shown.paste(picture, mask=picture.getchannel("A"))
    return ImageChops.difference(shown, plain).convert("L")


def _seen(picture: Image.Image, ground: tuple[int, int, int]) -> float:
    return sum(_difference(picture, ground).histogram()[12:]) / (picture.width * picture.height)


def _most_difference(picture: Image.Image, ground: tuple[int, int, int]) -> int:
    """The 99.5th percentile of how much a pixel differs from its ground."""
    left_over = picture.width * picture.height // 200
    for level, count in reversed(list(enumerate(_difference(picture, ground).histogram()))):
        left_over -= count
        if left_over < 0:
            return level
    return 0


def _islands(alpha: Image.Image) -> int:
    small = alpha.reduce(4).point(lambda value: 255 if value > 20 else 0)
    left_over = {index for index, value in enumerate(small.tobytes()) if value}
    count = 0
    while left_over:
        count += 1
        reached = [left_over.pop()]
        for index in reached:
            around = {index + step for step in (-1, 1, -small.width, small.width)} & left_over
            left_over -= around
            reached += around
    return count
