"""No format opens a file outside the model's folder: the kernel is asked which files were opened, wall by wall."""

import io
import re
import struct
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.render.gallery import clouds
from tests.render.hostile import models as hostile
from tests.render.hostile.watched import watched
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import WALLS, Renderer
from thumbq.render.formats import FORMATS
from thumbq.render.intake.model import Model
from thumbq.render.outputs import Outputs
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))]
MODELS = Path(__file__).parents[1] / "models"
SMALL = Outputs(sizes=(64,))


def _stored(name: str) -> bytes:
    return (MODELS / name).read_bytes()


def _step(secret: str) -> bytes:
    """A part in a document elsewhere, as assemblies refer to their parts."""
    reference = (
        f"#9001 = DOCUMENT_FILE('{secret}','',$,#9002,'','');\n#9002 = DOCUMENT_TYPE('STEP');\n"
        "#9003 = DOCUMENT_REPRESENTATION_TYPE('digital',#9001);\n"
        f"#9004 = APPLIED_EXTERNAL_IDENTIFICATION_ASSIGNMENT('{secret}',#9005,#9006,(#9001));\n"
        "#9005 = IDENTIFICATION_ROLE('external document id and location',$);\n"
        f"#9006 = EXTERNAL_SOURCE(IDENTIFIER('{secret}'));\n"
    )
    head, _, tail = _stored("part.stp").decode().rpartition("ENDSEC;")
    return f"{head}{reference}ENDSEC;{tail}".encode()


def _iges(secret: str) -> bytes:
    """An external reference (entity 416) beside the entities of the part."""
    lines = _stored("part.igs").decode().splitlines()
    kinds = {kind: [line for line in lines if line[72:73] == kind] for kind in "SGDPT"}
    entry, first = len(kinds["D"]) + 1, len(kinds["P"]) + 1
    text = f"416,{len(secret)}H{secret},4Hpart;"
    pieces = [text[start : start + 64] for start in range(0, len(text), 64)]
    numbers = [416, first, 0, 0, 0, 0, 0, 0, "00000000"], [416, 0, 0, len(pieces), 0, "", "", "", 0]
    kinds["D"] += [f"{''.join(f'{n:>8}' for n in row)}D{entry + place:7}" for place, row in enumerate(numbers)]
    kinds["P"] += [f"{piece:<64}{entry:8}P{first + place:7}" for place, piece in enumerate(pieces)]
    counts = "".join(f"{kind}{len(kinds[kind]):7}" for kind in "SGDP")
    kinds["T"] = [f"{counts:<72}T      1"]
    return "\n".join([line for kind in "SGDPT" for line in kinds[kind]] + [""]).encode()


def _ifc(secret: str) -> bytes:
    references = (
        f"#9001=IFCIMAGETEXTURE(.T.,.T.,$,$,$,'{secret}');\n#9002=IFCDOCUMENTREFERENCE('{secret}','a','a',$,$);\n"
    )
    references += f"#9003=IFCLIBRARYREFERENCE('{secret}','a','a',$,$,$);\n"
    head, _, tail = _stored("wall.ifc").decode().rpartition("ENDSEC;")
    return f"{head}{references}ENDSEC;{tail}".encode()


def _wrl(secret: str) -> bytes:
    texture = (
        f'Inline {{ url "{secret}" }}\nShape {{ appearance Appearance {{ texture ImageTexture {{ url "{secret}" }} }}'
    )
    box = "geometry IndexedFaceSet { coord Coordinate { point [ 0 0 0, 1 0 0, 0 1 0 ] } coordIndex [ 0 1 2 -1 ] } }"
    return f"#VRML V2.0 utf8\n{texture} {box}\n".encode()


def _3ds(secret: str) -> bytes:
    """A texture (chunk A200) within the first material."""
    content = _stored("box.3ds")
    start = content.index(struct.pack("<H", 0xA000))
    name = struct.pack("<HI", 0xA300, 6 + len(secret) + 1) + secret.encode() + b"\0"
    texture = struct.pack("<HI", 0xA200, 6 + len(name)) + name
    grown = bytearray(content[:start] + texture + content[start:])
    for kind in (0x4D4D, 0x3D3D, 0xAFFF):
        place = content.index(struct.pack("<H", kind))
        (size,) = struct.unpack_from("<I", grown, place + 2)
        struct.pack_into("<I", grown, place + 2, size + len(texture))
    return bytes(grown)


def _3mf(secret: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(MODELS / "box.3mf") as source, zipfile.ZipFile(target, "w") as package:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith(".model"):
                texture = f'<m:texture2d id="77" path="{secret}" contenttype="image/png"/>'
                content = re.sub(rb"(<resources[^/>]*>)", rb"\1" + texture.encode(), content)
            package.writestr(entry.filename, content)
    return target.getvalue()


def _ply(secret: str) -> bytes:
    return _stored("ball_ascii.ply").replace(
        b"\nelement vertex", f"\ncomment TextureFile {secret}\nelement vertex".encode(), 1
    )


def _named(name: str) -> Callable[[str], bytes]:
    """Return a writer for a format that has no place for a reference; the path stands at the end of the file."""
    return lambda secret: _stored(name) + f"\n# {secret}\n".encode()


def _as_it_is(content: bytes) -> Callable[[str], bytes]:
    return lambda _: content


WRITERS: dict[str, Callable[[str], bytes]] = {
    **hostile.WRITERS,
    "stl": lambda secret: (
        b"solid " + secret.encode() + b"\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n"
        b"vertex 0 1 0\nendloop\nendfacet\nendsolid\n"
    ),
    "step": _step,
    "3mf": _3mf,
    "ply": _ply,
    "3ds": _3ds,
    "iges": _iges,
    "brep": _named("part.brep"),
    "wrl": _wrl,
    "off": _named("box.off"),
    "ifc": _ifc,
    "las": _as_it_is(clouds.las(clouds.shell(500))),
    "pcd": _named("cloud.pcd"),
    "pts": _named("cloud.pts"),
    "ptx": _as_it_is(_stored("cloud.ptx")),
    "splat": _as_it_is(_stored("cloud.splat")),
}


@pytest.fixture(
    scope="module", params=[(), *((wall,) for wall in WALLS)], ids=lambda walls: "".join(walls) or "no wall"
)
async def renderer(request: pytest.FixtureRequest) -> AsyncIterator[Renderer]:
    """What draws behind each of the walls, and where the kernel has neither."""
    async with Renderer(Limits(), walls=request.param) as renderer:
        await renderer.start()
        yield renderer


@pytest.fixture(scope="module")
async def unwalled() -> AsyncIterator[Renderer]:
    async with Renderer(Limits(), walls=()) as renderer:
        yield renderer


def test_every_format_has_a_file_that_names_another():
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("word", WRITERS)
async def test_a_file_elsewhere_is_not_even_opened(tmp_path: Path, renderer: Renderer, word: str):
    (tmp_path / "own").mkdir()
    (tmp_path / "elsewhere").mkdir()
    secret = hostile.secret(tmp_path / "elsewhere" / "secret.png")
    path = tmp_path / "own" / f"7.{word}"
    path.write_bytes(WRITERS[word](str(secret)))
    if word == "obj":
        (tmp_path / "own" / "7.mtl").write_bytes(hostile.mtl(str(secret)))
    with watched(secret.parent) as watch:
        await renderer.render(path, outputs=SMALL)
        assert watch.opened() == []
        secret.read_bytes()
        assert watch.opened() == ["secret.png"]


@pytest.mark.parametrize("word", ["dae", "fbx", "gltf"])
async def test_what_the_checks_take_out_would_be_opened_where_there_is_no_wall(
    tmp_path: Path, unwalled: Renderer, word: str
):
    """Else the test above would prove nothing. The model is put before the renderer as it is."""
    (tmp_path / "elsewhere").mkdir()
    secret = hostile.secret(tmp_path / "elsewhere" / "secret.png")
    path = unwalled.intake.checked / f"model.{word}"
    path.write_bytes(WRITERS[word](str(secret)))
    with watched(secret.parent) as watch:
        with suppress(RenderFailed):
            await unwalled.draw(Model(path, word, path.name, ()), SMALL)
        assert "secret.png" in watch.opened()
