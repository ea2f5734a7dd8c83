"""The renderer on real models, and on models, crashes and limits that are meant to hurt it."""

import asyncio
import io
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.processes import is_running, wait_for_end
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import PICTURES, Pictures, Renderer
from thumbq.render.formats import format_of_name
from thumbq.render.outputs import SIZE
from thumbq.render.samples import CATALOGUE, CORRUPT, Sample, files, write_samples
from thumbq.render.samples.mesh import Part
from thumbq.render.samples.step import bolt
from thumbq.render.samples.things import pawn
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
# A start takes half a minute on a machine that is very busy, and some tests start several.
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))]

SOUND = [name for name in CATALOGUE if name != CORRUPT]
CUBE = b"".join(b"v %d %d %d\n" % (x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)) + (
    b"f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return {sample.name: sample for sample in write_samples(tmp_path_factory.mktemp("models"))}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.obj"
    path.write_bytes(CUBE)
    return path


@pytest.mark.parametrize("name", SOUND)
async def test_a_sound_model_fills_its_picture(samples: dict[str, Sample], renderer: Renderer, name: str):
    picture = _opened(await renderer.render(samples[name].path, format_of_name(name) or ""))
    alpha = picture.getchannel("A")
    box = alpha.point(lambda value: 255 if value > 8 else 0).getbbox()
    assert picture.size == (SIZE, SIZE)
    assert box
    left, top, right, bottom = box
    assert 0.86 * SIZE <= max(right - left, bottom - top) <= 0.95 * SIZE
    assert abs(left + right - SIZE) <= 8
    assert abs(top + bottom - SIZE) <= 8
    # Something to look at: neither a wire, nor one even colour.
    assert sum(alpha.histogram()[128:]) > 0.07 * SIZE * SIZE
    low, high = picture.convert("L").getextrema()
    assert isinstance(high, int)
    assert high - low > 80


@pytest.mark.parametrize("encode", [files.glb, files.gltf, files.obj, files.fbx, files.stl, None])
async def test_models_stand_upright_whatever_axis_their_format_calls_up(
    tmp_path: Path, renderer: Renderer, encode: Callable[[list[Part]], bytes] | None
):
    """A pawn is wider at its foot, and so is a bolt that stands on its head."""
    word = encode.__name__ if encode else "step"
    model = tmp_path / f"model.{word}"
    model.write_bytes(encode(pawn()) if encode else bolt())
    alpha = _opened(await renderer.render(model, word)).getchannel("A")
    top, *_, foot = (alpha.crop((0, y, SIZE, y + SIZE // 4)).histogram()[255] for y in range(0, SIZE, SIZE // 4))
    assert foot > 1.3 * top


async def test_a_picture_does_not_depend_on_what_was_drawn_before(
    renderer: Renderer, samples: dict[str, Sample], cube: Path
):
    await renderer.start()
    first = await renderer.render(cube, "obj")
    await renderer.render(samples["bolt.step"].path, "step")
    assert (await renderer.render(cube, "obj")).files == first.files


async def test_edges_are_smooth_and_keep_the_colour_of_the_model(renderer: Renderer, cube: Path):
    picture = _opened(await renderer.render(cube, "obj"))
    half_there = picture.getchannel("A").point(lambda value: 255 if 64 < value < 192 else 0)
    assert half_there.histogram()[255] > 200
    darkest = ImageChops.lighter(picture.convert("RGB"), ImageChops.invert(half_there).convert("RGB"))
    assert not any(channel.histogram()[level] for channel in darkest.split() for level in range(90))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.glb", b"glTF" + bytes(200), "The file is glTF 0; only glTF 2.0 is supported."),
        ("a.stl", bytes(80) + b"\x09\0\0\0" + bytes(50), "The STL file is incomplete: 1 of 9 triangles."),
        ("a.obj", b"", "a.obj is empty."),
        ("a.fbx", b"; FBX 7.4.0 project file\nObjects: {", "The FBX file is damaged or incomplete: it ends"),
        ("a.step", b"ISO-10303-21;\nHEADER;\nENDSEC;\n", "The STEP or IFC file is incomplete: its closing line"),
        ("a.gltf", b'{"asset":{"version":"2.0"},"buffers":[{"uri":"no.bin","byteLength":4}]}', "no.bin, which the"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "The OBJ file has nothing to see in it."),
        ("a.obj", b"v nan 0 0\nv 1 inf 0\nv 0 1 0\nf 1 2 3\n", "Line 4 of the OBJ file names point 1, whose"),
    ],
)
async def test_a_bad_model_fails_with_a_sentence(
    tmp_path: Path, renderer: Renderer, name: str, content: bytes, message: str
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RenderFailed) as failure:
        await renderer.render(path, format_of_name(name) or "")
    assert str(failure.value).startswith(message)
    assert str(tmp_path) not in str(failure.value)
    assert not failure.value.retryable


async def test_the_corrupt_sample_says_what_is_wrong_and_the_next_model_is_drawn(
    samples: dict[str, Sample], renderer: Renderer, cube: Path
):
    before = renderer.pid
    with pytest.raises(RenderFailed, match=r"^The GLB file is incomplete: \d+ of \d+ bytes\.$"):
        await renderer.render(samples[CORRUPT].path, "glb")
    assert await renderer.render(cube, "obj")
    assert renderer.pid == before


async def struck(renderer: Renderer, model: Path, number: signal.Signals) -> asyncio.Task[Pictures]:
    """Return the drawing of a model whose process gets this signal while it draws."""
    await renderer.start()
    process = renderer.pid
    assert process
    taken = await renderer.intake.take_file(model)
    os.kill(process, signal.SIGSTOP)
    job = asyncio.create_task(renderer.draw(taken))
    await asyncio.sleep(0)
    os.kill(process, number)
    os.kill(process, signal.SIGCONT)
    return job


async def test_a_crash_costs_another_process_and_no_attempt(samples: dict[str, Sample], renderer: Renderer):
    job = await struck(renderer, samples["gear.stl"].path, signal.SIGSEGV)
    before = renderer.pid
    assert await job
    assert renderer.pid != before


async def test_a_process_that_the_machine_ends_costs_one_job(
    samples: dict[str, Sample], renderer: Renderer, cube: Path
):
    job = await struck(renderer, samples["gear.stl"].path, signal.SIGKILL)
    before = renderer.pid
    message = r"^The renderer crashed on this model \(SIGKILL\), probably because the machine ran out"
    with pytest.raises(RenderFailed, match=message) as failure:
        await job
    assert failure.value.retryable
    assert await renderer.render(cube, "obj")
    assert renderer.pid != before


async def test_the_time_limit_ends_a_renderer_that_hangs(renderer: Renderer, cube: Path):
    model = await renderer.intake.take_file(cube)  # that one has a minute for it
    async with Renderer(Limits(seconds=0.2)) as hasty:
        await hasty.start()
        hung = hasty.pid
        assert hung
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(
            RenderFailed,
            match=r"^Rendering took longer than the limit of 0\.2 s; it used \d+\.\d s of processor time and \d+ MB\.$",
        ) as failure:
            await hasty.draw(model)
        assert failure.value.retryable
        assert not is_running(hung)


async def test_the_memory_limit_ends_a_model_that_is_too_large(tmp_path: Path, cube: Path):
    numbers = random.Random(1)
    facets = b"".join(struct.pack("<12fH", 0, 0, 0, *(numbers.random() for _ in range(9)), 0) for _ in range(2000))
    large = tmp_path / "large.stl"
    large.write_bytes(bytes(80) + struct.pack("<I", 1_000_000) + facets * 500)
    async with Renderer(Limits(seconds=200, memory=320)) as renderer:
        with pytest.raises(
            RenderFailed, match=r"memory.* limit of 320 MB(; it had \d+ MB when it asked for more)?\.$"
        ) as failure:
            await renderer.render(large, "stl")
        assert not failure.value.retryable
        assert await renderer.render(cube, "obj")


async def test_a_renderer_that_cannot_start_says_why():
    async with Renderer(Limits(memory=1)) as renderer:
        with pytest.raises(RenderFailed, match=r"^The renderer cannot start: ") as failure:
            await renderer.start()
        assert failure.value.retryable


async def test_a_job_that_is_taken_away_takes_its_renderer_along(renderer: Renderer, cube: Path):
    """What it was doing cannot be known, so the next job gets a fresh one."""
    await renderer.start()
    busy = renderer.pid
    assert busy
    model = await renderer.intake.take_file(cube)
    os.kill(busy, signal.SIGSTOP)
    job = asyncio.create_task(renderer.draw(model))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not is_running(busy)
    assert await renderer.render(cube, "obj")


async def test_a_renderer_is_replaced_after_a_number_of_pictures(
    renderer: Renderer, cube: Path, monkeypatch: pytest.MonkeyPatch
):
    await renderer.render(cube, "obj")
    worn = renderer.pid
    monkeypatch.setattr("thumbq.render.drawing.renderer.PICTURES", 1)
    await renderer.render(cube, "obj")
    assert renderer.pid != worn
    assert PICTURES > 1


async def test_no_process_is_left_when_the_renderer_is_closed(cube: Path):
    async with Renderer(Limits()) as renderer:
        await renderer.start()
        process = renderer.pid
    assert process
    assert not is_running(process)


def test_no_process_is_left_when_the_worker_is_killed():
    code = (
        "import asyncio\n"
        "from thumbq.render.child import Limits\n"
        "from thumbq.render.drawing.renderer import Renderer\n"
        "async def main():\n"
        "    async with Renderer(Limits()) as renderer:\n"
        "        await renderer.start()\n"
        "        print(renderer.pid, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout
            process = int(worker.stdout.readline())
            assert is_running(process)
        finally:
            worker.kill()
    wait_for_end([process])


def _opened(pictures: Pictures) -> Image.Image:
    image = Image.open(io.BytesIO(pictures.files[0]))
    assert (image.format, image.mode) == ("WEBP", "RGBA")
    return image
