"""Draws models and textures, each kind with its own handler: `python worker.py ASSETS THUMBNAILS [SERVER]`."""

import asyncio
import logging
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from thumbq import Job, JobFailed, Thumbnail, Worker, options_of, report_progress

SIZE = 512


class Assets:
    """Finds the file of a job, and writes its thumbnail."""

    def __init__(self, assets: Path, thumbnails: Path) -> None:
        thumbnails.mkdir(parents=True, exist_ok=True)
        self._assets = assets
        self._thumbnails = thumbnails.absolute()

    def model(self, job: Job) -> Thumbnail:
        """Draw the corners of an OBJ file, seen from the front, in the colour that the job's options name."""
        lines = self._file(job, ".obj").read_text().splitlines()
        corners = [tuple(map(float, line.split()[1:3])) for line in lines if line.startswith("v ")]
        if not corners:
            raise JobFailed("the model has no corners", retryable=False)
        reach = max(abs(value) for corner in corners for value in corner) or 1.0
        picture = Image.new("RGB", (SIZE, SIZE), "white")
        pen = ImageDraw.Draw(picture)
        for number, (x, y) in enumerate(corners):
            report_progress(job, number / len(corners), "drawing")
            place = SIZE * (0.5 + 0.45 * x / reach), SIZE * (0.5 - 0.45 * y / reach)
            pen.circle(place, 4, fill=options_of(job).get("colour", "navy"))
        return self._saved(job, picture)

    def texture(self, job: Job) -> Thumbnail:
        """Lay a texture out as tiles, as many in a row as the job's options say."""
        in_a_row = int(options_of(job).get("tiles", 2))
        with Image.open(self._file(job, ".png")) as original:
            tile = original.convert("RGB").resize((SIZE // in_a_row, SIZE // in_a_row))
        picture = Image.new("RGB", (tile.width * in_a_row, tile.height * in_a_row))
        for left in range(0, picture.width, tile.width):
            for top in range(0, picture.height, tile.height):
                picture.paste(tile, (left, top))
        return self._saved(job, picture)

    def _file(self, job: Job, suffix: str) -> Path:
        file = self._assets / f"{job.model_id}{suffix}"
        if not file.is_file():
            raise JobFailed(f"there is no {file.name}", retryable=False)
        return file

    def _saved(self, job: Job, picture: Image.Image) -> Thumbnail:
        path = self._thumbnails / f"{job.model_hash}-{job.id}.png"
        # Under another name first: another worker may write the same picture.
        draft = path.with_suffix(f".{job.attempt_count}")
        picture.save(draft, "PNG")
        draft.replace(path)
        return Thumbnail(str(path), path.stat().st_size, picture.width, picture.height)


async def main(assets: Path, thumbnails: Path, server: str) -> None:
    """Work until SIGTERM."""
    handlers = Assets(assets, thumbnails)
    async with Worker(server, concurrency=4, time_limit=60) as worker:
        await worker.run({"Model": handlers.model, "Texture": handlers.texture})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *(sys.argv[3:] or ["localhost:50051"])))
