"""Writers of small 3D files: GLB, glTF, OBJ, STL and FBX, with the same bytes every time."""

import base64
import json
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

from thumbq.render.samples.mesh import Material, Part, Triangles, triangulate

FLOAT, UNSIGNED_SHORT = 5126, 5123


def glb(parts: Sequence[Part]) -> bytes:
    """Return a binary glTF with one mesh; vertical axis y."""
    document, buffer = _gltf(parts)
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(buffer), b"BIN\0") + buffer
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(parts: Sequence[Part]) -> bytes:
    """Return a glTF in JSON that carries its buffer itself."""
    document, buffer = _gltf(parts)
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(buffer).decode()
    return json.dumps(document, separators=(",", ":")).encode()


def _gltf(parts: Sequence[Part]) -> tuple[dict[str, Any], bytes]:
    buffer = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def accessor(content: bytes, count: int, kind: str, component: int, **more: Any) -> int:
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(content)})
        buffer.extend(content + b"\0" * (-len(content) % 4))
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": component, "count": count, "type": kind} | more
        )
        return len(accessors) - 1

    primitives = []
    meshes = triangulate(parts)
    for number, mesh in enumerate(meshes.values()):
        low = [min(axis) for axis in zip(*mesh.points, strict=True)]
        high = [max(axis) for axis in zip(*mesh.points, strict=True)]
        points = accessor(_pack("f", mesh.points), len(mesh.points), "VEC3", FLOAT, min=low, max=high)
        normals = accessor(_pack("f", mesh.normals), len(mesh.points), "VEC3", FLOAT)
        indices = accessor(_pack("H", mesh.indices), 3 * len(mesh.indices), "SCALAR", UNSIGNED_SHORT)
        attributes = {"POSITION": points, "NORMAL": normals}
        primitives.append({"attributes": attributes, "indices": indices, "material": number})
    document = {
        "asset": {"version": "2.0", "generator": "thumbq samples"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": [_gltf_material(material) for material in meshes],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}],
    }
    return document, bytes(buffer)


def _gltf_material(material: Material) -> dict[str, Any]:
    return {
        "name": material.name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [round(channel, 5) for channel in (*material.color, 1.0)],
            "metallicFactor": material.metallic,
            "roughnessFactor": material.roughness,
        },
    }


def _pack(kind: str, rows: Sequence[Sequence[float]]) -> bytes:
    values = list(chain.from_iterable(rows))
    return struct.pack(f"<{len(values)}{kind}", *values)


def obj(parts: Sequence[Part]) -> bytes:
    """Return a Wavefront OBJ without a material file; vertical axis y."""
    lines = ["# thumbq sample"]
    base = 1
    for material, mesh in triangulate(parts).items():
        lines.append(f"o {material.name}")
        lines += [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.points]
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals]
        lines += ["f " + " ".join(f"{base + corner}//{base + corner}" for corner in face) for face in mesh.indices]
        base += len(mesh.points)
    return "\n".join([*lines, ""]).encode()


def stl(parts: Sequence[Part]) -> bytes:
    """Return a binary STL; vertical axis z."""
    facets = bytearray()
    count = 0
    for mesh in triangulate([part.z_up() for part in parts]).values():
        for corners in mesh.indices:
            a, b, c = (mesh.points[corner] for corner in corners)
            facets += struct.pack("<12fH", 0.0, 0.0, 0.0, *a, *b, *c, 0)
        count += len(mesh.indices)
    return struct.pack("<80sI", b"thumbq sample", count) + bytes(facets)


def fbx(parts: Sequence[Part]) -> bytes:
    """Return an FBX 7.4 in text form; vertical axis y."""
    objects, links = [], []
    for number, (material, mesh) in enumerate(triangulate(parts).items(), 1):
        geometry, model, paint = 1000 + number, 2000 + number, 3000 + number
        color = ",".join(f"{channel:.5f}" for channel in material.color)
        objects += [
            f'Geometry: {geometry}, "Geometry::", "Mesh" {{',
            *_fbx_mesh(mesh),
            "}",
            f'Model: {model}, "Model::part{number}", "Mesh" {{ Version: 232 }}',
            f'Material: {paint}, "Material::{material.name}", "" {{',
            f'ShadingModel: "phong" Properties70: {{ P: "DiffuseColor", "Color", "", "A",{color} }}',
            "}",
        ]
        links += [f'C: "OO",{model},0', f'C: "OO",{geometry},{model}', f'C: "OO",{paint},{model}']
    axes = {"UpAxis": 1, "FrontAxis": 2, "CoordAxis": 0}
    signs = {f"{name}Sign": 1 for name in axes}
    settings = [f'P: "{name}", "int", "Integer", "",{value}' for name, value in (axes | signs).items()]
    lines = [
        "; FBX 7.4.0 project file",
        "FBXHeaderExtension: { FBXHeaderVersion: 1003 FBXVersion: 7400 }",
        "GlobalSettings: { Version: 1000 Properties70: {",
        *settings,
        "} }",
        "Objects: {",
        *objects,
        "}",
        "Connections: {",
        *links,
        "}",
        "",
    ]
    return "\n".join(lines).encode()


def _fbx_mesh(mesh: Triangles) -> list[str]:
    def array(name: str, values: list[str]) -> str:
        return f"{name}: *{len(values)} {{ a: {','.join(values)} }}"

    # The last corner of a polygon is stored as its complement.
    corners = [corner for a, b, c in mesh.indices for corner in (a, b, -c - 1)]
    normals = [mesh.normals[corner] for face in mesh.indices for corner in face]
    return [
        array("Vertices", [f"{value:g}" for point in mesh.points for value in point]),
        array("PolygonVertexIndex", [str(corner) for corner in corners]),
        "GeometryVersion: 124",
        "LayerElementNormal: 0 {",
        'Version: 101 MappingInformationType: "ByPolygonVertex" ReferenceInformationType: "Direct"',
        array("Normals", [f"{value:g}" for normal in normals for value in normal]),
        "}",
        "LayerElementMaterial: 0 {",
        'Version: 101 MappingInformationType: "AllSame" ReferenceInformationType: "IndexToDirect"',
        array("Materials", ["0"]),
        "}",
        "Layer: 0 {",
        'LayerElement: { Type: "LayerElementNormal" TypedIndex: 0 }',
        'LayerElement: { Type: "LayerElementMaterial" TypedIndex: 0 }',
        "}",
    ]
