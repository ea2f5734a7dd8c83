"""Draws mutated models of every format, and looks for hangs, leaks and pictures with nothing in them.

python -m tests.render.fuzz [--files N] [--seed S]. Exit code 1 when it finds something; a seed finds it again.
"""

import argparse
import asyncio
import io
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic

import psutil
from PIL import Image

from tests.render.fuzz.mutation import mutate
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.formats import format_of_name
from thumbq.render.outputs import Outputs
from thumbq.render.samples import write_samples

MODELS = Path(__file__).parents[1] / "models"
SECONDS = 20.0
# What a worker may take longer than the limits of its two processes: their end, and a busy machine.
PATIENCE = 2 * SECONDS + 20
MOST_GROWTH = 64 << 20
SMALL = Outputs(sizes=(128,))


class Fuzz:
    """One run: what it has seen, and what was wrong."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._originals = [sample.path for sample in write_samples(folder / "samples") if sample.sound]
        self._originals += [path for path in sorted(MODELS.iterdir()) if format_of_name(path.name)]
        self.outcomes = Counter[str]()
        self.faults: list[str] = []

    async def draw(self, renderer: Renderer, number: int) -> None:
        """Draw the mutated model of this number."""
        chance = random.Random(f"{self._seed}/{number}")
        original = chance.choice(self._originals)
        path = self._folder / f"{number}-{original.name}"
        path.write_bytes(mutate(original.read_bytes(), chance) or b"\n")
        started = monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                pictures = await renderer.render(path, outputs=SMALL)
        except RenderFailed as failure:
            kind = _kind(str(failure))
            if kind == "refused" and failure.retryable:
                self._note(f"{number}: {original.name} failed for a reason of our own: {failure}")
            self.outcomes[kind if kind == "refused" else f"{kind} ({original.suffix})"] += 1
        except TimeoutError:
            self._note(f"{number}: {original.name} kept its renderer for {monotonic() - started:.0f} s")
        else:
            self.outcomes["drawn"] += 1
            if _is_blank(pictures.files[0]):
                self._note(f"{number}: {original.name} became a picture with nothing to see")
        path.unlink()

    def _note(self, fault: str) -> None:
        self.faults.append(fault)
        # A run takes hours, and may be ended before its summary.
        sys.stdout.write(f"{fault}\n")


async def run(files: int, seed: int) -> Fuzz:
    """Draw this number of mutated models, as many at a time as there are cores."""
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder), seed)
        numbers = iter(range(files))
        before = 0
        others = set(psutil.Process().children(recursive=True))

        async def work() -> None:
            nonlocal before
            async with Renderer(Limits(seconds=SECONDS, memory=1024, file=64)) as renderer:
                for number in numbers:
                    await fuzz.draw(renderer, number)
                    if number == files // 4:
                        before = psutil.Process().memory_info().rss
                    if number % 100 == 99:
                        sys.stdout.write(f"{number + 1} files: {_listed(fuzz.outcomes)}\n")

        await asyncio.gather(*(work() for _ in range(len(os.sched_getaffinity(0)))))
        grown = psutil.Process().memory_info().rss - before
        if grown > MOST_GROWTH:
            fuzz.faults.append(f"the worker has grown by {grown >> 20} MB")
        if children := set(psutil.Process().children(recursive=True)) - others:
            fuzz.faults.append(f"{len(children)} processes are left")
        return fuzz


def _kind(sentence: str) -> str:
    for word in ("crashed", "longer than the limit", "memory"):
        if word in sentence:
            return word
    return "refused"


def _is_blank(picture: bytes) -> bool:
    alpha = Image.open(io.BytesIO(picture)).convert("RGBA").getchannel("A")
    return sum(alpha.histogram()[32:]) < 0.005 * alpha.width * alpha.height


def _listed(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.most_common())


def main() -> None:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    if options.files < 1:
        parser.error("a run draws one file or more")
    sys.stdout.write(f"Seed {options.seed}.\n")
    fuzz = asyncio.run(run(options.files, options.seed))
    sys.stdout.write(f"{options.files} files: {_listed(fuzz.outcomes)}.\n")
    sys.exit("\n".join(fuzz.faults) if fuzz.faults else 0)


if __name__ == "__main__":
    main()
