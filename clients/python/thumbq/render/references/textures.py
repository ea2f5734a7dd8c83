"""Puts the textures that a model refers to into the stage, in sizes and kinds that the renderer reads."""

from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.pictures import settle


class Textures:
    """The textures of one model."""

    def __init__(self, companions: Companions, stage: Path) -> None:
        self._companions = companions
        self._stage = stage
        self._settled: dict[str, str | None] = {}

    def take(self, reference: str, *, encoded: bool = False) -> str | None:
        """Return the name in the stage of the texture of this name; None, with a remark, when it cannot be had."""
        if reference not in self._settled:
            self._settled[reference] = self._take(reference, encoded=encoded)
        return self._settled[reference]

    def _take(self, reference: str, *, encoded: bool) -> str | None:
        own = self._companions.take(reference, encoded=encoded)
        if own is None:
            return None
        name = f"t{len(self._settled)}"
        fault = settle(self._stage / own, self._stage / name)
        if fault is None:
            return name
        last = reference.replace("\\", "/").rpartition("/")[2][:80]
        self._companions.remarks.append(f"{last} {fault}.")
        return None
