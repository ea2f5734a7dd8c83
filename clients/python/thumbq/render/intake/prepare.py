"""Turns a file that a stranger has made into one that the renderer can read without surprises."""

from collections.abc import Callable, Sequence
from pathlib import Path

from thumbq.render.files.archive import Archive, check_content
from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.formats import CAN_BE_DRAWN, FORMATS, refusal
from thumbq.render.intake.detection import format_of_file
from thumbq.render.references import collada, directx, fbx, gltf
from thumbq.render.repair import clouds, colors, completeness, obj, ply, stl, threeds
from thumbq.render.repair.faces import off, width

Step = Callable[[Path], None]
Preparation = Callable[[Path, Path, Companions, int], None]


def prepare(raw: Path, name: str, word: str | None, companions: Companions, most: int) -> tuple[Path, str]:
    """Move or rewrite `raw` into the file to be drawn; returns its path and its format; raises Refused."""
    if not raw.stat().st_size:
        raise Refused(f"{name} is empty.")
    word = word or format_of_file(raw, name)
    if word == "zip":
        archive = Archive(raw)
        inner = raw.with_name("unpacked")
        name = archive.take_model(inner, most)
        companions.look_in(archive)
        raw, word = inner, format_of_file(inner, name)
    if word not in FORMATS:
        raise Refused(_not_drawn(name, word))
    path = raw.with_name(f"model.{word}")
    PREPARATIONS.get(word, completeness.check if word in completeness.CHECKED else _as_it_is)(
        raw, path, companions, most
    )
    for step in LAST_STEPS.get(word, ()):
        step(path)
    return path, word


def _as_it_is(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    raw.rename(path)


def _checked_archive(raw: Path, path: Path, _companions: Companions, most: int) -> None:
    check_content(raw, most)
    raw.rename(path)


def _not_drawn(name: str, word: str | None) -> str:
    if word == "zip":
        return f"{name} is an archive in an archive, which is not read."
    return refusal(word) if word else f"{name} is of no known format. {CAN_BE_DRAWN}"


PREPARATIONS: dict[str, Preparation] = {
    "3ds": threeds.check,
    "3mf": _checked_archive,
    "dae": collada.prepare,
    "fbx": fbx.prepare,
    "glb": gltf.prepare_glb,
    "gltf": gltf.prepare_gltf,
    "las": clouds.repair_las,
    "obj": obj.repair,
    "ply": ply.repair,
    "pts": clouds.repair_pts,
    "stl": stl.repair,
    "x": directx.prepare,
}

# What is looked at, or rewritten in place, once nothing is missing and all references are settled.
LAST_STEPS: dict[str, Sequence[Step]] = {
    "3mf": (colors.rewrite_3mf,),
    "dae": (width.check_dae, colors.rewrite_dae),
    "fbx": (width.check_fbx,),
    "off": (off.cut_faces,),
    "wrl": (width.check_wrl,),
    "x": (width.check_x,),
}
