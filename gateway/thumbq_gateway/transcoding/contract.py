"""The routes that differ from the general rule: one clause for each RPC whose route differs.

Every other route prints its response as it is, and its errors as google.rpc.Status.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web

from thumbq.v1.job_pb2 import Thumbnail, ThumbnailStatus
from thumbq.v1.notification_pb2 import GetThumbnailResponse, GetThumbnailsResponse
from thumbq.v1.queue_pb2 import DequeueJobResponse
from thumbq_gateway.http.bodies.body import MEBIBYTE
from thumbq_gateway.http.errors import Refusal, retry_headers, status_response
from thumbq_gateway.http.files.thumbnails import versioned
from thumbq_gateway.protojson.encoder import encoder_of, exact_number, json_bytes

THUMBNAIL_FIELDS = (
    "status",
    "fileUrl",
    "sizeBytes",
    "width",
    "height",
    "errorMessage",
    "createdAt",
    "processedAt",
    "cursor",
)
LARGEST_REPORT = 4 * MEBIBYTE  # as much as the server takes
_VERSION = "modelVersionId"  # shown where a version was asked for
# Routes with plain text or an error object answer all of these with 400.
_BAD_REQUESTS = {400, 404, 409}


class Batch(NamedTuple):
    """A second form of a route's body: one that has this field goes to that RPC."""

    field: str
    rpc: str


@dataclass(frozen=True)
class Clause:
    """How one RPC's route differs from the general rule."""

    refuse: Callable[[Refusal], web.Response] = status_response
    # Returns None when the general rule prints the response.
    answer: Callable[[Any, web.Request], web.Response | None] = lambda _response, _request: None
    body_limit: int = MEBIBYTE
    batch: Batch | None = None
    # The field of the request that makes the call a long poll: the Duration to wait for.
    wait_field: str | None = None
    # For the API's description: answers besides the usual ones, and the fields of the response if not all are shown.
    other_answers: Mapping[int, str] = field(default_factory=dict)
    shown_fields: tuple[str, ...] = ()
    # The same for the messages in the answer's list.
    item_fields: tuple[str, ...] = ()
    # Shown beside the fields of the response by a route whose path has them.
    fields_of_path: tuple[str, ...] = ()


def other_paths(path: str) -> tuple[str, ...]:
    """Return further paths of a route: workers of generation 2 leave out the prefix."""
    return (path.removeprefix("/api"),) if path.startswith("/api/thumbnail-jobs") else ()


def plain_text(refusal: Refusal) -> web.Response:
    """Return the bare message, as the documented worker routes do."""
    status = 400 if refusal.http_status in _BAD_REQUESTS else refusal.http_status
    return web.Response(text=refusal.message, status=status, headers=retry_headers(refusal), content_type="text/plain")


def error_object(refusal: Refusal) -> web.Response:
    """Return the message under "error", as the documented test route does."""
    status = 400 if refusal.http_status in _BAD_REQUESTS else refusal.http_status
    return web.Response(
        body=json_bytes({"error": refusal.message}),
        status=status,
        headers=retry_headers(refusal),
        content_type="application/json",
    )


def _no_content_without_job(response: DequeueJobResponse, _request: web.Request) -> web.Response | None:
    return None if response.HasField("job") else web.Response(status=204)


def _thumbnail_for_pages(response: GetThumbnailResponse, request: web.Request) -> web.Response:
    thumbnail = response.thumbnail
    shown = thumbnail_for_pages(thumbnail)
    body = json_bytes(shown)
    if thumbnail.status != ThumbnailStatus.THUMBNAIL_STATUS_READY:
        return web.Response(body=body, headers={"Cache-Control": "no-store"}, content_type="application/json")
    # The tag leaves the cursor out: it changes with every job, and a client may as well subscribe from an older one.
    tag = hashlib.blake2b(json_bytes(shown | {"cursor": None}), digest_size=12).hexdigest()
    headers = {"Cache-Control": "public, max-age=3600", "ETag": f'"{tag}"'}
    if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")


def thumbnail_for_pages(thumbnail: Thumbnail) -> dict[str, Any]:
    """Return the fields that the contract's page reads, each one always present; never the file's path."""
    printed = encoder_of(Thumbnail.DESCRIPTOR)(thumbnail)
    shown = {name: printed.get(name) for name in THUMBNAIL_FIELDS}
    if _VERSION in printed:
        shown[_VERSION] = printed[_VERSION]
    if thumbnail.HasField("file_url"):
        shown["fileUrl"] = versioned(thumbnail.file_url, thumbnail.processed_at)
    if thumbnail.status == ThumbnailStatus.THUMBNAIL_STATUS_NONE:
        shown["status"] = "Pending"
    return shown


def _thumbnails_for_pages(response: GetThumbnailsResponse, _request: web.Request) -> web.Response:
    thumbnails = [
        {"modelId": exact_number(shown.model_id)} | thumbnail_for_pages(shown) for shown in response.thumbnails
    ]
    for shown in thumbnails:
        del shown["cursor"]
    body = json_bytes({"thumbnails": thumbnails, "cursor": response.cursor})
    return web.Response(body=body, headers={"Cache-Control": "no-store"}, content_type="application/json")


GENERAL = Clause()
CLAUSES: dict[str, Clause] = {
    "thumbq.v1.QueueService.DequeueJob": Clause(
        refuse=plain_text, answer=_no_content_without_job, wait_field="wait", other_answers={204: "No job is due."}
    ),
    "thumbq.v1.QueueService.DequeueJobs": Clause(wait_field="wait"),
    "thumbq.v1.QueueService.GetJob": Clause(wait_field="wait"),
    "thumbq.v1.QueueService.CompleteJob": Clause(refuse=plain_text),
    # A worker may send all that a program wrote; a report that is refused leaves its job locked.
    "thumbq.v1.QueueService.FailJob": Clause(refuse=plain_text, body_limit=LARGEST_REPORT),
    "thumbq.v1.QueueService.LogJobEvent": Clause(body_limit=LARGEST_REPORT),
    "thumbq.v1.NotificationService.PublishTestNotification": Clause(refuse=error_object),
    "thumbq.v1.NotificationService.GetThumbnail": Clause(
        answer=_thumbnail_for_pages,
        other_answers={304: "The caller's copy is current."},
        shown_fields=THUMBNAIL_FIELDS,
        fields_of_path=(_VERSION,),
    ),
    # Those of a list have the cursor of the answer, so the last field is left out.
    "thumbq.v1.NotificationService.GetThumbnails": Clause(
        answer=_thumbnails_for_pages, item_fields=("modelId", *THUMBNAIL_FIELDS[:-1])
    ),
    # 4 MiB have room for 10,000 jobs or results.
    "thumbq.v1.QueueService.EnqueueJob": Clause(
        body_limit=4 * MEBIBYTE, batch=Batch("jobs", "thumbq.v1.QueueService.EnqueueJobs")
    ),
    "thumbq.v1.QueueService.EnqueueJobs": Clause(body_limit=4 * MEBIBYTE),
    "thumbq.v1.QueueService.ReportResults": Clause(body_limit=4 * MEBIBYTE),
}
