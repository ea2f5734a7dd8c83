"""The models of the contact sheet: every format, varied shapes, and the ones that are hard to show."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.render.gallery import clouds, hard, meshes
from thumbq.render.samples import CATALOGUE, CORRUPT, figures, files, things
from thumbq.render.samples.mesh import Part

Shape = Callable[[], list[Part]]
Encode = Callable[[Sequence[Part]], bytes]

# Every mesh format with three shapes, so that colours, curves and thin parts are seen in each.
_MESHES: dict[str, tuple[Encode, tuple[Shape, ...]]] = {
    "3ds": (meshes.threeds, (things.teacup, figures.island, things.rocket)),
    "3mf": (meshes.threemf, (things.house, figures.torus_knot, things.gear)),
    "dae": (meshes.dae, (things.rocket, figures.caffeine, things.house)),
    "fbx": (files.fbx, (things.teacup, figures.spring, figures.planet)),
    "gltf": (files.gltf, (figures.caffeine, things.teacup, figures.sponge)),
    "obj": (files.obj, (things.gear, figures.moebius_band, things.staircase)),
    "off": (meshes.off, (figures.supershape, things.gear, figures.spring)),
    "ply": (meshes.ply, (figures.island, things.pawn, figures.moebius_band)),
    "stl": (meshes.stl_text, (figures.torus_knot, things.teacup, figures.supershape)),
    "wrl": (meshes.wrl, (things.staircase, figures.planet, things.pawn)),
    "x": (meshes.x, (things.house, figures.torus_knot, things.rocket)),
}
_BINARY_PLY = (things.house, figures.planet)
_CLOUDS = (clouds.las, clouds.pcd, clouds.ply, clouds.pts, clouds.ptx, clouds.splat)
# Files that no generator of ours makes.
_STORED = Path(__file__).parents[1] / "models"
_SUFFIXES_OF_MODELS = {".3ds", ".3mf", ".brep", ".dae", ".ifc", ".igs", ".laz", ".stp"}


def write_gallery(folder: Path) -> list[Path]:
    """Write all models into a folder, and return their paths in the order of the sheet."""
    written = []
    for name, content in _contents().items():
        path = folder / name
        path.write_bytes(content)
        written.append(path)
    stored = [file for file in sorted(_STORED.glob("*.*")) if file.suffix in _SUFFIXES_OF_MODELS]
    return written + [Path(shutil.copy(file, folder)) for file in stored]


def _contents() -> dict[str, bytes]:
    models = {name: make() for name, make in CATALOGUE.items() if name != CORRUPT}
    for word, (encode, shapes) in _MESHES.items():
        models |= {f"{shape.__name__}-text.{word}": encode(shape()) for shape in shapes}
    models |= {f"{shape.__name__}-binary.ply": meshes.ply_binary(shape()) for shape in _BINARY_PLY}
    for encode_cloud in _CLOUDS:
        models[f"shell.{encode_cloud.__name__}"] = encode_cloud(clouds.shell(6_000))
        models[f"hills.{encode_cloud.__name__}"] = encode_cloud(clouds.hills(30_000))
    return models | {name: make() for name, make in hard.MODELS.items()}
