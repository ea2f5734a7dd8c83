"""Routes that programs of Modelibr use beside those of jobs."""

from collections.abc import Iterable
from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import Job, Thumbnail, ThumbnailStatus
from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import EnqueueJobRequest, ListJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.requests.path_numbers import number_in_path
from thumbq_gateway.protojson.encoder import exact_number, json_bytes
from thumbq_gateway.transcoding.call_spans import HEADER, CallSpans

_DEADLINE = 10.0  # seconds
# The newest jobs of a model, among which that of a version is looked for.
_PAGE = 100
_OTHER_KINDS = "{kind:sounds|texture-sets|environment-maps}"


class Neighbours:
    """The handlers."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._queue = QueueServiceStub(channel)
        self._notifications = NotificationServiceStub(channel)
        self._spans = CallSpans()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        others = [f"{prefix}/thumbnail-jobs/{_OTHER_KINDS}/{{rest:.*}}" for prefix in ("", "/api")]
        return [
            web.post("/models/{model_id:[0-9]+}/thumbnail/regenerate", self.regenerate),
            *[web.route("*", path, self.other_kind) for path in others],
        ]

    async def regenerate(self, request: web.Request) -> web.Response:
        """Queue the file that is shown again, or else the newest one, which also announces it."""
        model_id = number_in_path(request, "model_id")
        job = await self._job_of(model_id, request.query.get("versionId", ""))
        if job is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"No thumbnail of model {model_id} was asked for yet.")
        again = EnqueueJobRequest(model_id=model_id, model_hash=job.model_hash, kind=job.asset_type, force=True)
        if job.HasField("options"):
            again.options.CopyFrom(job.options)
        with self._spans.around(again, request.headers.get(HEADER, "")):
            answer = await self._queue.EnqueueJob(again, timeout=_DEADLINE)
        told: dict[str, Any] = {
            "message": "Thumbnail regeneration queued successfully",
            "modelId": exact_number(model_id),
            "jobId": exact_number(answer.job_id),
            "status": "Pending",
        }
        return web.Response(body=json_bytes(told), content_type="application/json")

    async def _job_of(self, model_id: int, version_id: str) -> Job | None:
        """Return the job of the version's file, or of the one that is shown, or the newest; None when there is none."""
        if not model_id:
            return None
        asked = ListJobsRequest(model_id=model_id, page_size=_PAGE)
        jobs = (await self._queue.ListJobs(asked, timeout=_DEADLINE)).jobs
        if version_id.isascii() and version_id.isdigit() and 0 < int(version_id[:19]) < 1 << 63:
            version = await self._thumbnail(model_version_id=int(version_id[:19]))
            if version.model_id == model_id:
                return _of_file(jobs, version.model_hash)
        # A job that starts again keeps its id, so the newest id may belong to an older request.
        shown = await self._thumbnail(model_id=model_id)
        if shown.status == ThumbnailStatus.THUMBNAIL_STATUS_READY:
            return _of_file(jobs, shown.model_hash)
        return next(iter(jobs), None)

    async def _thumbnail(self, **asked: int) -> Thumbnail:
        answer = await self._notifications.GetThumbnail(GetThumbnailRequest(**asked), timeout=_DEADLINE)
        return answer.thumbnail

    async def other_kind(self, request: web.Request) -> web.Response:
        """Answer 404, which a worker takes for no job: only models are rendered."""
        kind = request.match_info["kind"].replace("-", " ")
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"This queue has jobs for models only, none for {kind}.")


def _of_file(jobs: Iterable[Job], model_hash: str) -> Job:
    """Return the job of a file. It may be older than those that are listed."""
    return next((job for job in jobs if job.model_hash == model_hash), Job(model_hash=model_hash))
