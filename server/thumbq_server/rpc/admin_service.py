"""AdminService: the operator puts things right. Methods that are still missing answer UNIMPLEMENTED."""

from typing import Any

from thumbq.v1 import admin_pb2, admin_pb2_grpc
from thumbq_server.domain.requests import check_model_id
from thumbq_server.engine.operator import Operator
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.errors import refusals_as_status, unimplemented


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Translates; `engine.operator` has the rules."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    @refusals_as_status
    async def CancelJob(self, request: admin_pb2.CancelJobRequest, context: Any) -> admin_pb2.CancelJobResponse:
        return admin_pb2.CancelJobResponse(job=codec.job(await self._operator.cancel(request.job_id)))

    @refusals_as_status
    async def CancelModelJobs(
        self, request: admin_pb2.CancelModelJobsRequest, context: Any
    ) -> admin_pb2.CancelModelJobsResponse:
        job_ids = await self._operator.cancel_model(check_model_id(request.model_id))
        return admin_pb2.CancelModelJobsResponse(job_ids=job_ids)

    @refusals_as_status
    async def RetryJob(self, request: admin_pb2.RetryJobRequest, context: Any) -> admin_pb2.RetryJobResponse:
        return admin_pb2.RetryJobResponse(job=codec.job(await self._operator.retry(request.job_id)))

    @refusals_as_status
    async def ListWorkers(self, request: admin_pb2.ListWorkersRequest, context: Any) -> admin_pb2.ListWorkersResponse:
        return admin_pb2.ListWorkersResponse(workers=map(codec.worker, await self._operator.workers()))

    GetStats = PauseQueue = ResumeQueue = unimplemented  # type: ignore[assignment]
    ListDeadLetters = RedriveDeadLetters = PruneJobs = unimplemented  # type: ignore[assignment]
