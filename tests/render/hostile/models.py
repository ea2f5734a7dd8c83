"""Model files of strangers that name a picture which is not theirs."""

import base64
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from thumbq.render.samples import files
from thumbq.render.samples.mesh import FLAT, Material, Part, box

MAGENTA = (255, 0, 255)
_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
_SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
_TRIANGLES = [(a, b, c) for a, b, c, _ in _SIDES] + [(a, c, d) for a, _, c, d in _SIDES]


def _spaced(numbers: tuple[int, ...], between: str = " ") -> str:
    return between.join(map(str, numbers))


def secret(path: Path) -> Path:
    """A picture that no thumbnail may show."""
    Image.new("RGB", (64, 64), MAGENTA).save(path, "PNG")
    return path


def gltf(reference: str) -> bytes:
    buffer = b"".join(struct.pack("<3f", *corner) for corner in _CORNERS)
    buffer += b"".join(struct.pack("<2f", 0.5, 0.5) for _ in _CORNERS)
    buffer += b"".join(struct.pack("<3H", *triangle) for triangle in _TRIANGLES)
    views = [(0, 96), (96, 64), (160, 72)]
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "buffers": [{"uri": f"data:;base64,{base64.b64encode(buffer).decode()}", "byteLength": len(buffer)}],
        "bufferViews": [{"buffer": 0, "byteOffset": start, "byteLength": length} for start, length in views],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5126, "count": 8, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "textures": [{"source": 0}],
        "images": [{"uri": reference}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}],
    }
    return json.dumps(document).encode()


def glb(reference: str) -> bytes:
    text = gltf(reference)
    text += b" " * (-len(text) % 4)
    header = struct.pack("<4sIII4s", b"glTF", 2, 32 + len(text), len(text), b"JSON")
    return header + text + struct.pack("<I4s4x", 4, b"BIN\0")


def obj(_reference: str) -> bytes:
    lines = ["mtllib 7.mtl", "usemtl m", "vt 0.5 0.5", *(f"v {_spaced(corner)}" for corner in _CORNERS)]
    lines += ["f " + " ".join(f"{corner + 1}/1" for corner in side) for side in _SIDES]
    return "\n".join(lines).encode()


def mtl(reference: str) -> bytes:
    return f"newmtl m\nKd 1 1 1\nmap_Kd {reference}\n".encode()


def directx(reference: str) -> bytes:
    points = ",\n".join(_spaced(corner, ";") + ";" for corner in _CORNERS)
    faces = ",\n".join(f"3;{_spaced(triangle, ',')};" for triangle in _TRIANGLES)
    places = ",".join("0.5;0.5;" for _ in _CORNERS)
    name = reference.replace("\\", "\\\\")
    return (
        f"xof 0303txt 0032\nMesh box {{\n8;\n{points};\n12;\n{faces};\nMeshTextureCoords {{ 8; {places}; }}\n"
        f"MeshMaterialList {{ 1; 12; {','.join('0' * 12)};;\nMaterial m {{ 1.0;1.0;1.0;1.0;; 1.0; 0.0;0.0;0.0;;"
        f' 0.0;0.0;0.0;; TextureFilename {{ "{name}"; }} }} }}\n}}\n'
    ).encode()


def dae(reference: str) -> bytes:
    """A cube with the picture on it, in COLLADA 1.4."""
    points = " ".join(map(_spaced, _CORNERS))
    order = " ".join(f"{corner} 0" for triangle in _TRIANGLES for corner in triangle)
    return f"""<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>Y_UP</up_axis></asset>
<library_images><image id="i"><init_from>{reference}</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>
<newparam sid="s"><surface type="2D"><init_from>i</init_from></surface></newparam>
<newparam sid="t"><sampler2D><source>s</source></sampler2D></newparam>
<technique sid="c"><lambert><diffuse><texture texture="t" texcoord="UV"/></diffuse></lambert></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="24">{points}</float_array><technique_common>
<accessor source="#pa" count="8" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<source id="u"><float_array id="ua" count="2">0.5 0.5</float_array><technique_common>
<accessor source="#ua" count="1" stride="2"><param name="S" type="float"/><param name="T" type="float"/></accessor>
</technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="12" material="mm"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#u" offset="1" set="0"/><p>{order}</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="s0"><node><instance_geometry url="#g"><bind_material><technique_common>
<instance_material symbol="mm" target="#m"><bind_vertex_input semantic="UV" input_semantic="TEXCOORD" input_set="0"/>
</instance_material></technique_common></bind_material></instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#s0"/></scene>
</COLLADA>""".encode()


def fbx(reference: str) -> bytes:
    """The text kind, with texture coordinates and a texture added to a sample."""
    text = files.fbx([Part(*box(1, 1, 1), Material("m", (1.0, 1.0, 1.0)), FLAT)]).decode()
    (paint,) = re.findall(r"Material: (\d+),", text)
    corners = len(re.findall(r"PolygonVertexIndex: \*\d+ \{ a: ([^}]+)", text)[0].split(","))
    places = f"UV: *2 {{ a: 0.5,0.5 }} UVIndex: *{corners} {{ a: {','.join('0' * corners)} }}"
    mapping = 'LayerElementUV: 0 {\nVersion: 101 Name: "u" MappingInformationType: "ByPolygonVertex"\n'
    mapping += f'ReferenceInformationType: "IndexToDirect"\n{places}\n}}\nLayerElementMaterial: 0 {{'
    text = text.replace("LayerElementMaterial: 0 {", mapping)
    text = text.replace("Layer: 0 {", 'Layer: 0 {\nLayerElement: { Type: "LayerElementUV" TypedIndex: 0 }')
    names = f'FileName: "{reference}"\nRelativeFilename: "{reference}"'
    texture = f'Texture: 9000, "Texture::t", "" {{\nType: "TextureVideoClip"\nVersion: 202\n{names}\n}}'
    video = f'Video: 9001, "Video::t", "Clip" {{\nType: "Clip"\n{names}\n}}'
    text = text.replace("Objects: {", f"Objects: {{\n{texture}\n{video}")
    links = f'C: "OP",9000,{paint},"DiffuseColor"\nC: "OO",9001,9000'
    return text.replace("Connections: {", f"Connections: {{\n{links}").encode()


WRITERS: dict[str, Callable[[str], bytes]] = {
    "gltf": gltf,
    "glb": glb,
    "obj": obj,
    "x": directx,
    "dae": dae,
    "fbx": fbx,
}


def write(folder: Path, word: str, reference: str) -> Path:
    """A model of this format, with what lies beside it."""
    path = folder / f"7.{word}"
    path.write_bytes(WRITERS[word](reference))
    if word == "obj":
        (folder / "7.mtl").write_bytes(mtl(reference))
    return path


def shows_magenta(picture: Image.Image) -> bool:
    """Whether a good part of what is visible is of the forbidden colour, however it is lit."""
    small = picture.convert("RGBA").resize((64, 64))
    pixels = [small.getpixel((x, y)) for x in range(64) for y in range(64)]
    magenta = [p for p in pixels if isinstance(p, tuple) and p[3] > 200 and min(p[0], p[2]) > 60 + 2 * p[1]]
    return len(magenta) > 100
