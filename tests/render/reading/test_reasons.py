"""What a reader says about a file becomes a sentence that names what is wrong with the file."""

import io
import struct
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.picture.reasons import reason
from thumbq.render.samples import files, things
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
MODELS = Path(__file__).parents[1] / "models"
FBX = files.fbx(things.pawn())
COLLADA = b'<?xml version="1.0"?><COLLADA version="1.4.1">%b</COLLADA>'
LAZ = (MODELS / "cloud.laz").read_bytes()


def _3mf(model: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("3D/3dmodel.model", model)
        kind = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
        namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
        relation = f'<Relationship Target="/3D/3dmodel.model" Id="a" Type="{kind}"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{namespace}">{relation}</Relationships>')
    return content.getvalue()


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.fbx", FBX[: len(FBX) // 2], "it ends in line 18"),
        ("a.fbx", b"; FBX 7.4.0 project file\nObjects: {", "it ends too early"),
        ("a.fbx", b"; FBX 7.4.0 project file\nObjects: { } }\n:::", "line 3 cannot be understood"),
        (
            "a.fbx",
            b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400) + b"\xff" * 200,
            "it cannot be understood from byte 0x1f on",
        ),
        ("a.off", b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "it has fewer faces than it says"),
        ("a.x", b"xof 0303txt 0032\nMesh m {\n3;\n0.0;0.0;0.0;,\n1.0 0.0;0.0;,\n}", "line 4 cannot be understood"),
        ("a.x", b"xof 0303txt 0032\nMesh m {\n3;\n0.0;0.0;0.0;,\n", "“” stands where a number belongs"),
        ("a.x", b"xof 0303txt 0032\nFrame f {\n}\n", "it holds nothing to draw"),
        ("a.dae", COLLADA % b"<asset/>", "it holds nothing to draw"),
        ("a.dae", COLLADA % b"<oops>", "its XML cannot be understood"),
        ("a.3mf", _3mf("<model><resources>"), "its XML cannot be understood"),
        ("a.brep", b"CASCADE Topology V1, (c) Matra-Datavision\nnonsense\n", "its shapes cannot be read"),
        ("a.step", b"ISO-10303-21;\nnonsense(\nEND-ISO-10303-21;\n", "its entities cannot be read"),
        ("a.laz", LAZ[: len(LAZ) // 2], "Invalid version 24 found in LAZ chunk table"),
    ],
)
async def test_a_reader_s_message_becomes_a_reason(
    tmp_path: Path, renderer: Renderer, name: str, content: bytes, why: str
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RenderFailed) as failure:
        await renderer.render(tmp_path / name)
    assert str(failure.value).endswith(f" file is damaged or incomplete: {why}.")
    assert not failure.value.retryable


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.fbx", FBX.replace(b"FBX 7.4.0", b"FBX 6.1.0").replace(b": 7400", b": 6100"), "The file is FBX 6.1; 7.1"),
        ("a.fbx", b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 6100), "The file is FBX 6.1; 7.1 and newer are"),
        ("a.gltf", b'{"asset":{"version":"1.0"}}', "The file is glTF 1.0; only glTF 2.0 is supported."),
        ("a.gltf", b'{"asset":{"version":"2.0"},}', "The glTF document is damaged or incomplete: "),
        ("a.wrl", b"#VRML V1.0 ascii\nSeparator { }", "The file is VRML 1.0; only VRML 2.0"),
        ("a.x", b"xof 0303bin 0032", "The DirectX file is of a binary kind; only the text kind"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n\nf 1 2 9\n", "Line 5 of the OBJ file names point 9, but the file has"),
        ("a.stl", b"solid a\nfacet\nvertex 0 0 0\nvertex 1 0 0\n", "The STL file is incomplete: it is cut off in"),
        ("a.stl", b"solid a\nfacet\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\n", "The STL file is incomplete: its"),
    ],
)  # fmt: skip
async def test_a_version_or_a_place_is_named_before_the_reader_sees_the_file(
    tmp_path: Path, renderer: Renderer, name: str, content: bytes, sentence: str
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RenderFailed) as failure:
        await renderer.intake.take_file(tmp_path / name)
    assert str(failure.value).startswith(sentence)


def test_the_first_line_of_a_log_is_not_blamed_for_what_the_next_one_says():
    log = (
        "ERROR: In vtkF3DAssimpImporter.cxx, line 688\n"
        "vtkF3DAssimpImporter (0x55fd): Assimp failed to load: /srv/models/7.off\n\n"
        "ERROR: In vtkF3DAssimpImporter.cxx, line 691\n"
        "vtkF3DAssimpImporter (0x55fd): Assimp error: something new about /srv/models/7.off\n"
    )
    assert reason("OFF", "off", log) == "The OFF file is damaged or incomplete: something new about 7.off."


def test_a_reader_that_says_nothing_is_not_quoted():
    assert reason("STEP", "step", "") == "The STEP file has no shapes that can be drawn."
    assert reason("GLB", "glb", "") == "The GLB file is damaged or incomplete, or its content is of another kind."
