"""Compares the processor time of pictures with that of another version, model by model and in turns.

python -m tests.render.gallery.speed FOLDER [ROUNDS]. FOLDER is a checkout of the other version with its own .venv.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from thumbq.render.samples import write_samples

# Draws the models that it is told, and answers each with the processor seconds of itself and all its processes.
DRAW = """
import asyncio, sys
from pathlib import Path
import psutil
try:
    from thumbq.render.child import Limits
    from thumbq.render.drawing.renderer import Renderer
except ModuleNotFoundError:
    from thumbq.render.renderer import Limits, Renderer

def spent():
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(time.user + time.system for time in times)

async def main():
    async with Renderer(Limits()) as renderer:
        while line := await asyncio.to_thread(sys.stdin.readline):
            path, word = line.split()
            before = spent()
            await renderer.render(Path(path), word)
            print(spent() - before, flush=True)

asyncio.run(main())
"""


class Version:
    """A version that is warm, and draws a model when it is asked."""

    def __init__(self, python: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([python, "-P", "-c", DRAW], stdin=pipe, stdout=pipe, text=True)
        self.seconds: dict[str, list[float]] = {}

    def draw(self, model: Path) -> float:
        """Return the processor seconds of the picture."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{model} {model.suffix[1:]}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Print the medians of both versions."""
    other, rounds = Path(sys.argv[1]) / ".venv/bin/python", int(sys.argv[2]) if sys.argv[2:] else 3
    versions = {"other": Version(str(other)), "this": Version(sys.executable)}
    with tempfile.TemporaryDirectory() as folder:
        models = [sample.path for sample in write_samples(Path(folder)) if sample.sound]
        for version in versions.values():
            version.draw(models[0])
        for model in models * rounds:
            for version in versions.values():
                version.seconds.setdefault(model.name, []).append(version.draw(model))
    medians = {name: [statistics.median(each) for each in one.seconds.values()] for name, one in versions.items()}
    for version in versions.values():
        version.end()
    for name, seconds in medians.items():
        sys.stdout.write(f"{name}: median of {len(seconds)} models {statistics.median(seconds):.2f} s\n")
    ratios = [this / before for this, before in zip(medians["this"], medians["other"], strict=True)]
    sys.stdout.write(f"this/other: median {statistics.median(ratios):.2f}, most {max(ratios):.2f}\n")


if __name__ == "__main__":
    main()
