"""Makes thumbnails of photos: `python worker.py PHOTOS THUMBNAILS [SERVER]`."""

import asyncio
import logging
import sys
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from thumbq import Job, JobFailed, Thumbnail, Worker

SIZE = (512, 512)


class Photos:
    """Finds the photo of a job, and writes its thumbnail."""

    def __init__(self, photos: Path, thumbnails: Path) -> None:
        thumbnails.mkdir(parents=True, exist_ok=True)
        self._photos = photos
        self._thumbnails = thumbnails.absolute()

    def __call__(self, job: Job) -> Thumbnail:
        """Make one thumbnail. This blocks, so the worker runs it in a thread."""
        photo = next(self._photos.glob(f"{job.model_id}.*"), None)
        if photo is None:
            raise JobFailed(f"there is no photo {job.model_id}", retryable=False)
        path = self._thumbnails / f"{job.model_hash}.webp"
        try:
            with Image.open(photo) as original:
                picture = ImageOps.exif_transpose(original)
                picture.thumbnail(SIZE)
        except UnidentifiedImageError:
            raise JobFailed(f"{photo.name} is no picture", retryable=False) from None
        # Under another name first: another worker may write the same picture.
        draft = path.with_suffix(f".{job.id}-{job.attempt_count}")
        picture.save(draft, "WEBP")
        draft.replace(path)
        return Thumbnail(str(path), path.stat().st_size, picture.width, picture.height)


async def main(photos: Path, thumbnails: Path, server: str) -> None:
    """Work until SIGTERM."""
    async with Worker(server, concurrency=4, time_limit=60) as worker:
        await worker.run(Photos(photos, thumbnails))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *(sys.argv[3:] or ["localhost:50051"])))
