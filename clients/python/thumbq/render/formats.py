"""The one table of model formats: help, documents, error sentences, detection and drawing all read it."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Up = Literal["+Y", "+Z", "-Y"]
Kind = Literal["mesh", "cad", "points"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format; `word` is also the suffix under which the renderer gets the file.

    `kind` says what is in such a file: triangles with materials, exact surfaces, or mostly points.
    `up` is the axis that points up when the file itself does not say.
    """

    word: str
    name: str
    suffixes: tuple[str, ...]
    kind: Kind = "mesh"
    up: Up = "+Y"


_TABLE = (
    Format("glb", "GLB", (".glb",)),
    Format("gltf", "glTF", (".gltf",)),
    Format("obj", "OBJ", (".obj",)),
    Format("stl", "STL", (".stl",), up="+Z"),
    Format("fbx", "FBX", (".fbx",)),
    Format("step", "STEP", (".step", ".stp", ".p21"), "cad", "+Z"),
    Format("3mf", "3MF", (".3mf",), up="+Z"),
    Format("ply", "PLY", (".ply",)),
    Format("dae", "COLLADA", (".dae",)),
    Format("3ds", "3DS", (".3ds",), up="+Z"),
    Format("iges", "IGES", (".iges", ".igs"), "cad", "+Z"),
    Format("brep", "BREP", (".brep", ".brp"), "cad", "+Z"),
    Format("wrl", "VRML", (".wrl", ".vrml")),
    Format("off", "OFF", (".off",), up="+Z"),
    Format("x", "DirectX", (".x",)),
    Format("ifc", "IFC", (".ifc",)),
    Format("las", "LAS", (".las", ".laz"), "points", "+Z"),
    Format("pcd", "PCD", (".pcd",), "points", "+Z"),
    Format("pts", "PTS", (".pts",), "points", "+Z"),
    Format("ptx", "PTX", (".ptx",), "points", "+Z"),
    Format("splat", "Splat", (".splat",), "points", "-Y"),
)
FORMATS = {row.word: row for row in _TABLE}
SUFFIXES = {suffix: row.word for row in _TABLE for suffix in row.suffixes}

# Formats that people have and for which there is no reader.
REFUSED = {
    ".usdz": "USDZ",
    ".usd": "USD",
    ".usda": "USD",
    ".usdc": "USD",
    ".3dm": "3DM",
    ".amf": "AMF",
    ".blend": "BLEND",
}
ARCHIVES = (".zip",)

NAMES = ", ".join(row.name for row in _TABLE)
CAN_BE_DRAWN = f"These formats can be rendered: {NAMES}, and a ZIP archive that holds one of them."


def format_of_name(name: str) -> str | None:
    """Return the format that a file name or the path of a URL says."""
    return SUFFIXES.get(PurePath(name).suffix.lower())


def looks_like_a_model(name: str) -> bool:
    """Whether a file name says that this is a model, an archive of one, or a kind of model that is refused."""
    suffix = PurePath(name).suffix.lower()
    return suffix in SUFFIXES or suffix in REFUSED or suffix in ARCHIVES


def refusal(name: str) -> str:
    """Return the sentence for a format that has no reader."""
    return f"{name} files cannot be rendered. {CAN_BE_DRAWN}"
