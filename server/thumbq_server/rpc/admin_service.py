"""AdminService: the operator sees how things are, and puts them right."""

from typing import Any

from thumbq.v1 import admin_pb2, admin_pb2_grpc
from thumbq_runtime.access.api_keys import Fingerprint, prefix_in
from thumbq_runtime.limits.rates import LONGEST_PAUSE, Kind
from thumbq_server.access.audit import Audit
from thumbq_server.access.door import ORIGIN
from thumbq_server.access.keyring import Keyring
from thumbq_server.access.tickets import Tickets
from thumbq_server.domain.operations import (
    MAX_PAUSE_REASON,
    MAX_PAUSED_BY,
    check_filter,
    check_retention,
    check_text,
)
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_batch, check_model_id, check_page_size, check_page_token
from thumbq_server.engine.operator import Operator
from thumbq_server.engine.readers.inspection import Inspection
from thumbq_server.engine.refused_claims import RefusedClaims
from thumbq_server.rpc.audited import audited
from thumbq_server.rpc.codec import audit as audit_codec
from thumbq_server.rpc.codec import keys
from thumbq_server.rpc.codec import operations as codec
from thumbq_server.rpc.codec.jobs import job
from thumbq_server.rpc.codec.times import timedelta_of
from thumbq_server.rpc.errors import refusals_as_status

# Of one gateway, in half a second.
MOST_NOTED = 100
_KINDS = frozenset(Kind)


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Translates; `engine.operator` and `engine.readers.inspection` have the rules."""

    def __init__(
        self,
        operator: Operator,
        inspection: Inspection,
        refused_claims: RefusedClaims,
        keyring: Keyring,
        tickets: Tickets,
        audit: Audit,
    ) -> None:
        self._operator = operator
        self._inspection = inspection
        self._refused_claims = refused_claims
        self._keyring = keyring
        self._tickets = tickets
        self.audit = audit

    @refusals_as_status
    async def CancelJob(self, request: admin_pb2.CancelJobRequest, context: Any) -> admin_pb2.CancelJobResponse:
        return admin_pb2.CancelJobResponse(job=job(await self._operator.cancel(request.job_id)))

    @refusals_as_status
    @audited
    async def CancelModelJobs(
        self, request: admin_pb2.CancelModelJobsRequest, context: Any
    ) -> admin_pb2.CancelModelJobsResponse:
        job_ids = await self._operator.cancel_model(check_model_id(request.model_id))
        return admin_pb2.CancelModelJobsResponse(job_ids=job_ids)

    @refusals_as_status
    @audited
    async def ForgetThumbnail(
        self, request: admin_pb2.ForgetThumbnailRequest, context: Any
    ) -> admin_pb2.ForgetThumbnailResponse:
        forgotten = await self._operator.forget_model(check_model_id(request.model_id))
        return admin_pb2.ForgetThumbnailResponse(job_ids=forgotten.job_ids, pictures=forgotten.pictures)

    @refusals_as_status
    async def RetryJob(self, request: admin_pb2.RetryJobRequest, context: Any) -> admin_pb2.RetryJobResponse:
        return admin_pb2.RetryJobResponse(job=job(await self._operator.retry(request.job_id)))

    @refusals_as_status
    @audited
    async def CancelJobs(self, request: admin_pb2.CancelJobsRequest, context: Any) -> admin_pb2.CancelJobsResponse:
        check_batch(request.job_ids, "jobIds")
        return admin_pb2.CancelJobsResponse(job_ids=await self._operator.cancel_jobs(request.job_ids))

    @refusals_as_status
    @audited
    async def PauseQueue(self, request: admin_pb2.PauseQueueRequest, context: Any) -> admin_pb2.PauseQueueResponse:
        named = check_text(request.paused_by, MAX_PAUSED_BY, "pausedBy")
        paused_by = named or self._keyring.name_of(ORIGIN.get().prefix)
        reason = check_text(request.reason, MAX_PAUSE_REASON, "reason")
        return admin_pb2.PauseQueueResponse(pause=codec.pause(await self._operator.pause(paused_by, reason)))

    @refusals_as_status
    @audited
    async def ResumeQueue(self, request: admin_pb2.ResumeQueueRequest, context: Any) -> admin_pb2.ResumeQueueResponse:
        return admin_pb2.ResumeQueueResponse(pause=codec.pause(await self._operator.resume()))

    @refusals_as_status
    @audited
    async def RedriveDeadLetters(
        self, request: admin_pb2.RedriveDeadLettersRequest, context: Any
    ) -> admin_pb2.RedriveDeadLettersResponse:
        reason = check_filter(request.reason, "reason")
        if request.job_ids and (request.all or reason):
            raise Invalid("jobIds stands alone, without all and reason")
        if request.all or reason:
            step = await self._operator.redrive_all(check_page_token(request.page_token), reason)
            return admin_pb2.RedriveDeadLettersResponse(redriven=step.redriven, next_page_token=_token(step.next_below))
        check_batch(request.job_ids, "jobIds")
        return admin_pb2.RedriveDeadLettersResponse(redriven=await self._operator.redrive(request.job_ids))

    @refusals_as_status
    @audited
    async def PruneJobs(self, request: admin_pb2.PruneJobsRequest, context: Any) -> admin_pb2.PruneJobsResponse:
        keep = check_retention(timedelta_of(request.finished_before))
        after = check_page_token(request.page_token) if request.page_token else 0
        pruned = await self._operator.prune(keep, after)
        return admin_pb2.PruneJobsResponse(
            pruned_jobs=pruned.jobs,
            pruned_notifications=pruned.notifications,
            next_page_token=_token(pruned.next_after),
        )

    @refusals_as_status
    async def GetStats(self, request: admin_pb2.GetStatsRequest, context: Any) -> admin_pb2.GetStatsResponse:
        return codec.statistics(await self._inspection.statistics())

    @refusals_as_status
    async def ListWorkers(self, request: admin_pb2.ListWorkersRequest, context: Any) -> admin_pb2.ListWorkersResponse:
        return admin_pb2.ListWorkersResponse(workers=map(codec.worker, await self._inspection.workers()))

    @refusals_as_status
    async def ListDeadLetters(
        self, request: admin_pb2.ListDeadLettersRequest, context: Any
    ) -> admin_pb2.ListDeadLettersResponse:
        jobs, next_below = await self._inspection.dead_letters(
            check_page_token(request.page_token),
            check_page_size(request.page_size),
            check_filter(request.reason, "reason"),
        )
        return admin_pb2.ListDeadLettersResponse(jobs=map(job, jobs), next_page_token=_token(next_below))

    @refusals_as_status
    async def GetJobHistory(
        self, request: admin_pb2.GetJobHistoryRequest, context: Any
    ) -> admin_pb2.GetJobHistoryResponse:
        attempts = await self._inspection.history(request.job_id)
        return admin_pb2.GetJobHistoryResponse(attempts=map(codec.attempt, attempts))

    @refusals_as_status
    async def ExplainJob(self, request: admin_pb2.ExplainJobRequest, context: Any) -> admin_pb2.ExplainJobResponse:
        return codec.explanation(await self._inspection.explain(request.job_id))

    @refusals_as_status
    @audited
    async def CreateKey(self, request: admin_pb2.CreateKeyRequest, context: Any) -> admin_pb2.CreateKeyResponse:
        life = timedelta_of(request.expires_after) if request.HasField("expires_after") else None
        record, secret = await self._keyring.create(keys.role(request.role), request.name, life)
        return admin_pb2.CreateKeyResponse(key=keys.key(record), secret=secret)

    @refusals_as_status
    async def ListKeys(self, request: admin_pb2.ListKeysRequest, context: Any) -> admin_pb2.ListKeysResponse:
        return admin_pb2.ListKeysResponse(keys=map(keys.key, await self._keyring.list()))

    @refusals_as_status
    @audited
    async def RevokeKey(self, request: admin_pb2.RevokeKeyRequest, context: Any) -> admin_pb2.RevokeKeyResponse:
        return admin_pb2.RevokeKeyResponse(key=keys.key(await self._keyring.revoke(prefix_in(request.prefix))))

    @refusals_as_status
    async def ListAudit(self, request: admin_pb2.ListAuditRequest, context: Any) -> admin_pb2.ListAuditResponse:
        rows, next_below = await self.audit.list(
            check_page_token(request.page_token),
            check_page_size(request.page_size),
            check_filter(request.who, "who"),
            check_filter(request.action, "action"),
            check_filter(request.outcome, "outcome"),
        )
        return admin_pb2.ListAuditResponse(entries=map(audit_codec.entry, rows), next_page_token=_token(next_below))

    @refusals_as_status
    async def CheckKeys(self, request: admin_pb2.CheckKeysRequest, context: Any) -> admin_pb2.CheckKeysResponse:
        keyring = self._keyring
        for noted in request.noted[:MOST_NOTED]:
            self.audit.note(audit_codec.deed(noted))
        for limit, seconds in request.refused_claims.items():
            if limit in _KINDS:  # a newer gateway may have others
                self._refused_claims.note(Kind(limit), min(seconds, LONGEST_PAUSE))
        roles = [keyring.role_of(Fingerprint(shown.prefix, shown.digest)) for shown in request.keys]
        return admin_pb2.CheckKeysResponse(
            keys_needed=keyring.needed,
            roles=map(keys.role_message, roles),
            ticket_keys=[
                admin_pb2.TicketKey(id=key_id, public_key=public) for key_id, public in self._tickets.public_keys()
            ],
        )


def _token(job_id: int | None) -> str:
    return "" if job_id is None else str(job_id)
