"""Writes meshes in the formats that the sample models do not come in; each is as small as its format allows."""

import io
import struct
import zipfile
from collections.abc import Iterator, Sequence

from thumbq.render.samples.mesh import Material, Part, Point, Triangles, triangulate

Meshes = dict[Material, Triangles]
NUMBERS = "%.4f %.4f %.4f"


def _bytes(color: Sequence[float]) -> tuple[int, int, int]:
    """Return the web colour of a linear one, 0 to 255."""
    red, green, blue = (round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)) for c in color)
    return red, green, blue


def _joined(meshes: Meshes) -> Iterator[tuple[Material, list[Point], list[tuple[int, int, int]]]]:
    """Return every mesh with indices that count on from the meshes before it."""
    base = 0
    for material, mesh in meshes.items():
        yield material, mesh.points, [(a + base, b + base, c + base) for a, b, c in mesh.indices]
        base += len(mesh.points)


def ply(parts: Sequence[Part]) -> bytes:
    """Return a PLY in text form, with a colour for every corner."""
    corners, faces = [], []
    for material, points, indices in _joined(triangulate(parts)):
        color = " ".join(map(str, _bytes(material.color)))
        corners += [f"{NUMBERS % point} {color}" for point in points]
        faces += ["3 {} {} {}".format(*face) for face in indices]
    return "\n".join([_ply_header("ascii", len(corners), len(faces)), *corners, *faces, ""]).encode()


def ply_binary(parts: Sequence[Part]) -> bytes:
    """Return the same in binary."""
    corners, faces = bytearray(), bytearray()
    for material, points, indices in _joined(triangulate(parts)):
        for point in points:
            corners += struct.pack("<3f3B", *point, *_bytes(material.color))
        for face in indices:
            faces += struct.pack("<B3i", 3, *face)
    header = _ply_header("binary_little_endian", len(corners) // 15, len(faces) // 13)
    return header.encode() + b"\n" + bytes(corners + faces)


def _ply_header(encoding: str, corners: int, faces: int) -> str:
    places = "".join(f"property float {axis}\n" for axis in "xyz")
    colors = "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
    list_of = "property list uchar int vertex_indices"
    return (
        f"ply\nformat {encoding} 1.0\nelement vertex {corners}\n{places}{colors}"
        f"element face {faces}\n{list_of}\nend_header"
    )


def stl_text(parts: Sequence[Part]) -> bytes:
    """Return an STL in text form; vertical axis z."""
    lines = ["solid gallery"]
    for mesh in triangulate([part.z_up() for part in parts]).values():
        for face in mesh.indices:
            corners = [f"vertex {NUMBERS % mesh.points[corner]}" for corner in face]
            lines += ["facet normal 0 0 0", "outer loop", *corners, "endloop", "endfacet"]
    return "\n".join([*lines, "endsolid gallery", ""]).encode()


def off(parts: Sequence[Part]) -> bytes:
    """Return an OFF; vertical axis z, as the format's table says here."""
    meshes = triangulate([part.z_up() for part in parts])
    corners = [NUMBERS % point for mesh in meshes.values() for point in mesh.points]
    faces = ["3 {} {} {}".format(*face) for _, _, indices in _joined(meshes) for face in indices]
    return "\n".join(["OFF", f"{len(corners)} {len(faces)} 0", *corners, *faces, ""]).encode()


def wrl(parts: Sequence[Part]) -> bytes:
    """Return a VRML 2.0 world."""
    shapes = ["#VRML V2.0 utf8"]
    for material, mesh in triangulate(parts).items():
        points = ", ".join(NUMBERS % point for point in mesh.points)
        faces = ", ".join("{}, {}, {}, -1".format(*face) for face in mesh.indices)
        red, green, blue = (channel / 255 for channel in _bytes(material.color))
        shapes.append(
            f"Shape {{ appearance Appearance {{ material Material {{ diffuseColor {red:.3f} {green:.3f} {blue:.3f} }}"
            f" }}"
            f" geometry IndexedFaceSet {{ solid FALSE creaseAngle 0.7 coord Coordinate {{ point [ {points} ] }}"
            f" coordIndex [ {faces} ] }} }}"
        )
    return "\n".join([*shapes, ""]).encode()


def x(parts: Sequence[Part]) -> bytes:
    """Return a DirectX mesh in text form, in which z points away from the viewer."""
    frames = ["xof 0303txt 0032"]
    for material, mesh in triangulate(parts).items():
        points = ",".join(f"{x:.4f};{y:.4f};{-z:.4f};" for x, y, z in mesh.points)
        faces = ",".join(f"3;{a},{c},{b};" for a, b, c in mesh.indices)
        red, green, blue = material.color
        count = len(mesh.indices)
        frames.append(
            f"Mesh {{ {len(mesh.points)}; {points}; {count}; {faces};"
            f" MeshMaterialList {{ 1; {count}; {','.join('0' * count)};;"
            f" Material {{ {red:.4f};{green:.4f};{blue:.4f};1.0;; 1.0; 0.0;0.0;0.0;; 0.0;0.0;0.0;; }} }} }}"
        )
    return "\n".join([*frames, ""]).encode()


def threemf(parts: Sequence[Part]) -> bytes:
    """Return a 3MF package; vertical axis z."""
    objects, items, colors = [], [], []
    for number, (material, mesh) in enumerate(triangulate([part.z_up() for part in parts]).items()):
        colors.append('<base name="m" displaycolor="#{:02X}{:02X}{:02X}"/>'.format(*_bytes(material.color)))
        points = "".join('<vertex x="{:.4f}" y="{:.4f}" z="{:.4f}"/>'.format(*point) for point in mesh.points)
        faces = "".join('<triangle v1="{}" v2="{}" v3="{}"/>'.format(*face) for face in mesh.indices)
        objects.append(
            f'<object id="{number + 2}" type="model" pid="1" pindex="{number}"><mesh><vertices>{points}</vertices>'
            f"<triangles>{faces}</triangles></mesh></object>"
        )
        items.append(f'<item objectid="{number + 2}"/>')
    model = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<model unit="millimeter"'
        ' xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources>'
        f'<basematerials id="1">{"".join(colors)}</basematerials>{"".join(objects)}</resources>'
        f"<build>{''.join(items)}</build></model>"
    )
    types = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Types xmlns="http://schemas.openxmlformats.org/package/2006/'
        'content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships'
        '+xml"/><Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
        "</Types>"
    )
    relations = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        'relationships"><Relationship Target="/3D/3dmodel.model" Id="rel0" Type="http://schemas.microsoft.com/'
        '3dmanufacturing/2013/01/3dmodel"/></Relationships>'
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in (
            ("[Content_Types].xml", types),
            ("_rels/.rels", relations),
            ("3D/3dmodel.model", model),
        ):
            package.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


def dae(parts: Sequence[Part]) -> bytes:
    """Return a COLLADA document; vertical axis y."""
    effects, materials, geometries, nodes = [], [], [], []
    for n, (material, mesh) in enumerate(triangulate(parts).items()):
        color = "{:.4f} {:.4f} {:.4f} 1".format(*tuple(channel / 255 for channel in _bytes(material.color)))
        points = " ".join(NUMBERS % point for point in mesh.points)
        faces = " ".join("{} {} {}".format(*face) for face in mesh.indices)
        effects.append(
            f'<effect id="e{n}"><profile_COMMON><technique sid="t"><lambert><diffuse><color>{color}</color></diffuse>'
            "</lambert></technique></profile_COMMON></effect>"
        )
        materials.append(f'<material id="m{n}"><instance_effect url="#e{n}"/></material>')
        geometries.append(
            f'<geometry id="g{n}"><mesh><source id="s{n}"><float_array id="f{n}" count="{3 * len(mesh.points)}">'
            f'{points}</float_array><technique_common><accessor source="#f{n}" count="{len(mesh.points)}" stride="3">'
            '<param name="X" type="float"/><param name="Y" type="float"/><param name="Z" type="float"/></accessor>'
            f'</technique_common></source><vertices id="v{n}"><input semantic="POSITION" source="#s{n}"/></vertices>'
            f'<triangles count="{len(mesh.indices)}" material="m"><input semantic="VERTEX" source="#v{n}" offset="0"/>'
            f"<p>{faces}</p></triangles></mesh></geometry>"
        )
        nodes.append(
            f'<node id="n{n}"><instance_geometry url="#g{n}"><bind_material><technique_common><instance_material'
            f' symbol="m" target="#m{n}"/></technique_common></bind_material></instance_geometry></node>'
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema"'
        ' version="1.4.1"><asset><created>2026-01-01T00:00:00</created><modified>2026-01-01T00:00:00</modified>'
        '<unit name="meter" meter="1"/><up_axis>Y_UP</up_axis></asset>'
        f"<library_effects>{''.join(effects)}</library_effects><library_materials>{''.join(materials)}"
        f"</library_materials><library_geometries>{''.join(geometries)}</library_geometries>"
        f'<library_visual_scenes><visual_scene id="scene">{"".join(nodes)}</visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#scene"/></scene></COLLADA>\n'
    ).encode()


def threeds(parts: Sequence[Part]) -> bytes:
    """Return a 3DS; vertical axis z."""
    objects, materials = b"", b""
    for number, (material, mesh) in enumerate(triangulate([part.z_up() for part in parts]).items()):
        name = b"m%d\0" % number
        color = _chunk(0x0011, bytes(_bytes(material.color)))
        materials += _chunk(0xAFFF, _chunk(0xA000, name) + _chunk(0xA020, color))
        points = struct.pack("<H", len(mesh.points)) + b"".join(struct.pack("<3f", *point) for point in mesh.points)
        faces = struct.pack("<H", len(mesh.indices)) + b"".join(struct.pack("<4H", *f, 7) for f in mesh.indices)
        listed = name + struct.pack(f"<{len(mesh.indices) + 1}H", len(mesh.indices), *range(len(mesh.indices)))
        triangles = _chunk(0x4110, points) + _chunk(0x4120, faces + _chunk(0x4130, listed))
        objects += _chunk(0x4000, b"o%d\0" % number + _chunk(0x4100, triangles))
    return _chunk(0x4D4D, _chunk(0x0002, struct.pack("<I", 3)) + _chunk(0x3D3D, materials + objects))


def _chunk(kind: int, content: bytes) -> bytes:
    return struct.pack("<HI", kind, 6 + len(content)) + content
