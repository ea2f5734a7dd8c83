"""POST /thumbnail-jobs/{id}/finish: the report of generation 2, which is a complete or a fail in one call."""

from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import (
    CompleteJobRequest,
    FailJobRequest,
    GetJobRequest,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.errors import Refusal, refused_by_server, retry_headers
from thumbq_gateway.http.requests.path_numbers import number_in_path
from thumbq_gateway.protojson.decoder import decoder_of
from thumbq_gateway.protojson.encoder import encoder_of, exact_number, json_bytes
from thumbq_gateway.protojson.values import InvalidValue, read_flag_text
from thumbq_gateway.transcoding.contract import LARGEST_REPORT
from thumbq_gateway.transcoding.together import Together

_DEADLINE = 10.0  # seconds
# For a worker that does not know them.
_UNKNOWN_SIZES = {"size_bytes": 0, "width": 256, "height": 256}
_NO_REASON = "The worker gave no reason."
_IN_PATH = frozenset({"job_id"})  # a body that names it, too, is not asked


class Finish:
    """The handler."""

    def __init__(self, channel: grpc.aio.Channel, together: Together, bodies: Bodies) -> None:
        self._bodies = bodies
        self._queue = QueueServiceStub(channel)
        self._together = together

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        paths = [f"{prefix}/thumbnail-jobs/{{job_id:-?[0-9]+}}/finish" for prefix in ("", "/api")]
        return [web.post(path, self.handle) for path in paths]

    async def handle(self, request: web.Request) -> web.Response:
        """End the attempt. The answer says what the model shows now."""
        job_id = number_in_path(request, "job_id", lowest=0)
        try:
            body = await self._bodies.decoded(request, LARGEST_REPORT, lambda body: body)
            report = _read_report(job_id, body)
            return _json(await self._finish(job_id, report))
        except InvalidValue as invalid:
            return _refused(Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)))
        except Refusal as refusal:
            return _refused(refusal)

    async def _finish(self, job_id: int, report: CompleteJobRequest | FailJobRequest) -> dict[str, Any]:
        try:
            answer = await self._together.call(report)
        except Refusal as refusal:
            if refusal.code is grpc.StatusCode.FAILED_PRECONDITION and (gone := await self._cancelled(job_id)):
                return gone
            raise
        return {"modelVersionId": None} | encoder_of(answer.DESCRIPTOR)(answer)

    async def _cancelled(self, job_id: int) -> dict[str, Any] | None:
        """Return the answer to a worker whose model was deleted meanwhile, or None for other jobs."""
        try:
            job = (await self._queue.GetJob(GetJobRequest(job_id=job_id), timeout=_DEADLINE)).job
        except grpc.aio.AioRpcError as error:
            raise refused_by_server(error) from None
        if job.status != JobStatus.JOB_STATUS_CANCELLED:
            return None
        message = "The job was cancelled; its result is not needed."
        version_id = exact_number(job.model_version_id) if job.HasField("model_version_id") else None
        model_id = exact_number(job.model_id)
        return {"modelId": model_id, "status": "Failed", "message": message, "modelVersionId": version_id}


def _read_report(job_id: int, body: object) -> CompleteJobRequest | FailJobRequest:
    if not isinstance(body, dict):
        raise InvalidValue("must be a JSON object")
    if _succeeded(body):
        report = decoder_of(CompleteJobRequest.DESCRIPTOR, _IN_PATH).fields(body)
        return CompleteJobRequest(**(_UNKNOWN_SIZES | report | {"job_id": job_id}))
    report = decoder_of(FailJobRequest.DESCRIPTOR, _IN_PATH).fields(body) | {"job_id": job_id}
    if not report.get("error_message", "").strip():
        report["error_message"] = _NO_REASON
    return FailJobRequest(**report)


def _succeeded(body: dict[str, Any]) -> bool:
    for name, value in body.items():
        if name.lower() == "success":
            try:
                return read_flag_text(str(value))
            except InvalidValue as invalid:
                raise invalid.within("success") from None
    raise InvalidValue("is missing", "success")


def _refused(refusal: Refusal) -> web.Response:
    body = json_bytes({"error": refusal.code.name, "message": refusal.message})
    headers = retry_headers(refusal)
    return web.Response(body=body, status=refusal.http_status, headers=headers, content_type="application/json")


def _json(value: object) -> web.Response:
    return web.Response(body=json_bytes(value), content_type="application/json")
