"""The files of models in an object store."""

from pathlib import PurePosixPath

import grpc

from thumbq.v1.job_pb2 import JobStatus, Thumbnail, ThumbnailStatus
from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import ListJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.http.files.places import NotThere
from thumbq_gateway.http.files.response import Content
from thumbq_gateway.http.files.stored_object import open_object
from thumbq_runtime.files.model_objects import ModelObjects

_TIMEOUT = 10.0  # seconds
_LARGEST_ID = 2**63 - 1


class ModelStore:
    """Objects as the reference worker reads them. Where their names have a hash, the server knows it."""

    def __init__(self, models: ModelObjects, channel: grpc.aio.Channel) -> None:
        self._models = models
        self._jobs = QueueServiceStub(channel)
        self._thumbnails = NotificationServiceStub(channel)

    async def open(self, model_id: int, version_id: int | None) -> tuple[Content, str]:
        """See ModelPlace. Versions are told apart by their hashes alone."""
        if not 0 < model_id <= _LARGEST_ID or not 0 < (version_id or 1) <= _LARGEST_ID:
            raise NotThere
        if version_id is not None:
            model_hash = await self._hash_of_version(model_id, version_id)
        else:
            model_hash = await self._hash_of_model(model_id) if self._models.need_hash else ""
        key = self._models.key(model_id, model_hash)
        return await open_object(self._models.store, key), PurePosixPath(key).name

    async def _hash_of_model(self, model_id: int) -> str:
        """Return the hash of the file that a worker has in hand, that is shown, or that came last."""
        found = await self._jobs.ListJobs(ListJobsRequest(model_id=model_id), timeout=_TIMEOUT)
        for job in found.jobs:
            if job.status == JobStatus.JOB_STATUS_PROCESSING:
                return job.model_hash
        # A job that starts again keeps its id, so the newest id may belong to an older request.
        shown = await self._thumbnail(GetThumbnailRequest(model_id=model_id))
        if shown.status == ThumbnailStatus.THUMBNAIL_STATUS_READY:
            return shown.model_hash
        for job in found.jobs:
            return job.model_hash
        raise NotThere

    async def _hash_of_version(self, model_id: int, version_id: int) -> str:
        found = await self._thumbnail(GetThumbnailRequest(model_version_id=version_id))
        if not self._models.need_hash or found.model_id != model_id:
            raise NotThere
        return found.model_hash

    async def _thumbnail(self, asked: GetThumbnailRequest) -> Thumbnail:
        return (await self._thumbnails.GetThumbnail(asked, timeout=_TIMEOUT)).thumbnail
