"""What the reference worker does with a job: fetch the model, draw it, store the picture."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

from thumbq.outcome import JobFailed, Thumbnail
from thumbq.render.child import RenderFailed
from thumbq.render.model_files import ModelSource
from thumbq.render.renderer import SIZE, Renderer
from thumbq.render.thumbnails import ThumbnailFolder
from thumbq.v1.job_pb2 import Job

_logger = logging.getLogger("thumbq.render")


class ThumbnailMaker:
    """A handler for `thumbq.Worker`, for as many jobs at a time as there are renderers."""

    def __init__(self, models: ModelSource, thumbnails: ThumbnailFolder, renderers: Sequence[Renderer]) -> None:
        self._models = models
        self._thumbnails = thumbnails
        self._free: asyncio.LifoQueue[Renderer] = asyncio.LifoQueue()
        for renderer in renderers:
            self._free.put_nowait(renderer)

    async def __call__(self, job: Job) -> Thumbnail:
        """Make the thumbnail; raises JobFailed with one sentence."""
        started = monotonic()
        try:
            renderer = await self._free.get()
            try:
                model = await self._models.take(renderer.intake, job.model_id, job.model_hash)
                picture = await renderer.draw(model)
            finally:
                self._free.put_nowait(renderer)
            path = await asyncio.to_thread(self._thumbnails.store, job.model_hash.lower(), picture)
        except RenderFailed as error:
            raise JobFailed(str(error), retryable=error.retryable) from error
        except OSError as error:
            raise JobFailed(f"The thumbnail could not be stored: {error.strerror}.") from error
        for remark in model.remarks:
            _logger.warning("Job %d (model %d): %s", job.id, job.model_id, remark)
        took, size = monotonic() - started, len(picture) / 1000
        _logger.info("Job %d (model %d): %s drawn in %.1f s, %.0f kB", job.id, job.model_id, model.format, took, size)
        return Thumbnail(str(path), len(picture), SIZE, SIZE)
