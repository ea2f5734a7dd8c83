"""Sample models for the demo and the tests, made by our own code: small, varied, always the same bytes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thumbq.render.samples import figures, files, step, things
from thumbq.render.samples.mesh import Part


@dataclass(frozen=True, slots=True)
class Sample:
    """A model file of the demo; one that is not `sound` is corrupt on purpose."""

    model_id: int
    name: str
    path: Path
    model_hash: str
    sound: bool


def write_samples(folder: Path) -> list[Sample]:
    """Write every sample model into `folder` as `<model id>-<name>`; files already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for model_id, (name, make) in enumerate(CATALOGUE.items(), 1):
        content = make()
        path = folder / f"{model_id}-{name}"
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        samples.append(Sample(model_id, name, path, hashlib.sha256(content).hexdigest(), name != CORRUPT))
    return samples


def _encoded(encode: Callable[[list[Part]], bytes], shape: Callable[[], list[Part]]) -> Callable[[], bytes]:
    return lambda: encode(shape())


def _truncated() -> bytes:
    """Return a GLB whose upload broke off half-way."""
    whole = files.glb(figures.spring())
    return whole[: len(whole) // 2]


CORRUPT = "truncated.glb"
CATALOGUE: dict[str, Callable[[], bytes]] = {
    "teacup.glb": _encoded(files.glb, things.teacup),
    "torus-knot.glb": _encoded(files.glb, figures.torus_knot),
    "gear.stl": _encoded(files.stl, things.gear),
    "cottage.glb": _encoded(files.glb, things.house),
    "pawn.obj": _encoded(files.obj, things.pawn),
    "island.glb": _encoded(files.glb, figures.island),
    "bolt.step": step.bolt,
    "caffeine.glb": _encoded(files.glb, figures.caffeine),
    "truncated.glb": _truncated,
    "rocket.fbx": _encoded(files.fbx, things.rocket),
    "moebius-band.glb": _encoded(files.glb, figures.moebius_band),
    "staircase.gltf": _encoded(files.gltf, things.staircase),
    "planet.glb": _encoded(files.glb, figures.planet),
    "supershape.obj": _encoded(files.obj, figures.supershape),
    "spring.glb": _encoded(files.glb, figures.spring),
    "menger-sponge.stl": _encoded(files.stl, figures.sponge),
}
