"""Renders models in processes of its own, so that a bad model costs its job and nothing else.

The intake reads a model, checks it and puts what the picture needs into the stage, a folder of this renderer. The
drawing process can read the stage and nothing else of anybody's files. Both stay for many models, because starting
takes longer than most pictures.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Self

from thumbq.render.child import Child, Crashed, Limits
from thumbq.render.drawing import graphics_card
from thumbq.render.drawing.stage import Stage
from thumbq.render.intake.model import Intake, Model
from thumbq.render.outputs import DEFAULT, Outputs

# A renderer that grows does so slowly; a fresh one takes its place after this number of pictures.
PICTURES = 100

# How the kernel can keep files out of a process's reach, the better way first.
WALLS = ("landlock", "namespaces")


class Pictures(NamedTuple):
    """The files of one model, one for each size, and the processor seconds of every stage of making them."""

    files: tuple[bytes, ...]
    seconds: dict[str, float]


class Renderer:
    """Draws one model at a time, in a process that it starts when there is none; `threads` are for each picture."""

    def __init__(self, limits: Limits, threads: int = 1, walls: Sequence[str] = WALLS, *, gpu: bool = False) -> None:
        """`walls` names ways to keep files out of reach; the renderer takes the first that the kernel has.

        With `gpu` a graphics card draws.
        """
        self._gpu = gpu
        self._limits = limits
        self._threads = threads
        self._walls = walls
        self._pictures = 0
        self.confined: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        self._stage = await asyncio.to_thread(Stage)
        self.intake = Intake(self._stage.path, self._limits)
        self._child = Child(
            "Rendering",
            "import f3d, thumbq.render.drawing.process as p; p.main()",
            [str(self._stage.path), " ".join(self._walls), str(graphics_card.DEVICES) if self._gpu else ""],
            self._limits,
            _drawing(self._threads, gpu=self._gpu) | _without_caches(self._stage.path),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._child.close()
        await self.intake.close()
        await asyncio.to_thread(self._stage.remove)

    @property
    def pid(self) -> int | None:
        """The process id of what draws, while there is a process."""
        return self._child.pid

    async def start(self) -> None:
        """Start fresh processes, and wait until they are ready; raises RenderFailed."""
        if self._gpu:
            graphics_card.check_device()
        await self.intake.start()
        await self._start()

    async def _start(self) -> None:
        self._pictures = 0
        self.confined = tuple((await self._child.start()).get("confined", ()))
        if self._gpu:
            graphics_card.check_wall(self.confined)

    async def render(self, file: Path, model_format: str | None = None, outputs: Outputs = DEFAULT) -> Pictures:
        """Return the pictures of a model file that lies anywhere; raises RenderFailed."""
        return await self.draw(await self.intake.take_file(file, model_format), outputs)

    async def draw(self, model: Model, outputs: Outputs = DEFAULT) -> Pictures:
        """Return the pictures of a model that the intake has put into the stage; raises RenderFailed.

        Graphics drivers crash once in some thousand pictures, whatever the model is, mostly in a fresh process. So a
        crash costs another process and no attempt; the second crash on the same model is taken for the model's.
        """
        try:
            return await self._draw(model, outputs)
        except Crashed:
            return await self._draw(model, outputs)

    async def _draw(self, model: Model, outputs: Outputs) -> Pictures:
        if self.pid is None or self._pictures >= PICTURES:
            await self._start()
        self._pictures += 1
        request = {"model": str(model.path), "format": model.format, "outputs": asdict(outputs)}
        answer, content = await self._child.ask(request, "pictures", "seconds")
        if len(answer["pictures"]) != len(outputs.sizes):
            raise await self._child.end_for_nonsense()
        return Pictures(_split(content, answer["pictures"]), answer["seconds"])


def _split(content: bytes, sizes: Sequence[int]) -> tuple[bytes, ...]:
    ends = list(accumulate(sizes))
    return tuple(content[end - size : end] for size, end in zip(sizes, ends, strict=True))


def _drawing(threads: int, *, gpu: bool) -> dict[str, str]:
    """Return the environment that says what draws: a card, or threads on the processor."""
    return {} if gpu else {"LP_NUM_THREADS": str(threads), "LIBGL_ALWAYS_SOFTWARE": "true"}


def _without_caches(stage: Path) -> dict[str, str]:
    """Return an environment in which no files are cached: a model could leave something to the next."""
    return {"XDG_CACHE_HOME": str(stage / "cache"), "MESA_SHADER_CACHE_DISABLE": "true"}
