"""Store operations, applied to the store and to its model."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tests.store.model.model_comparison import Observation
from tests.store.model.model_records import Job
from tests.store.model.queue_model import BACKOFF, QueueModel
from tests.support.postgres.queue_under_test import in_columns
from thumbq_server.domain.ends import Ends
from thumbq_server.domain.job import (
    MODEL,
    Completion,
    Failure,
    NewJob,
    RetryVerdict,
    Token,
    Verdict,
)
from thumbq_server.storage.maintenance import FIND_OLD_JOBS, prune_found
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.complete import complete, complete_columns
from thumbq_server.storage.transitions.enqueue import enqueue, enqueue_and_claim
from thumbq_server.storage.transitions.extend import extend
from thumbq_server.storage.transitions.fail import expire, fail
from thumbq_server.storage.transitions.forget import forget
from thumbq_server.storage.transitions.release import release
from thumbq_server.storage.transitions.retry import retry

LATER = 3000
BACKOFFS = [BACKOFF] * 10


@dataclass(frozen=True)
class Before:
    """The store before a step."""

    observation: Observation
    worker_names: dict[int, str]
    # alone, a verb takes all that it can; otherwise others may have locked some of it
    alone: bool


class Verb(Protocol):
    """A call to the store."""

    async def say(self, lane: Lane) -> Any:
        """What the store answers."""

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        """Take the model on, and say what the store has to answer. Where it may choose, `answer` is its choice."""


@dataclass(frozen=True)
class Enqueue:
    requests: tuple[NewJob, ...]

    async def say(self, lane: Lane) -> Any:
        return [tuple(answer) for answer in await enqueue(lane, self.requests)]

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.enqueue(self.requests, [job_id for job_id, _ in answer])


@dataclass(frozen=True)
class EnqueueAndClaim(Enqueue):
    """Enqueue while a worker waits for `count` jobs."""

    worker: int
    count: int

    async def say(self, lane: Lane) -> Any:
        takers = ClaimRequest([self.worker] * self.count, [LATER] * self.count)
        answers, claimed = await enqueue_and_claim(lane, self.requests, takers)
        return [tuple(answer) for answer in answers], [(job.token, job.attempt, job.model_id) for job in claimed]

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        now = before.observation.now
        lease_seq = chosen(answer[1])
        claimed: list[tuple[Token, int, int]] = []

        def hand_out(created: list[Job]) -> None:
            due = [job for job in created if job.request.kind == MODEL and job.is_due(now)]
            for job in sorted(due, key=lambda job: (-job.request.priority, job.id))[: self.count]:
                model.claim_one(Token(job.id, lease_seq), self.worker, LATER, now)
                claimed.append((job.token, job.attempt, job.request.model_id))

        return model.enqueue(self.requests, [job_id for job_id, _ in answer[0]], hand_out), claimed


@dataclass(frozen=True)
class Renew:
    """What an enqueue does before it looks again; it may find that others have taken the job on meanwhile."""

    request: NewJob

    async def say(self, lane: Lane) -> Any:
        raise NotImplementedError("this is part of an enqueue")

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        model.renew(self.request)
        return answer


@dataclass(frozen=True)
class Claim:
    worker: int
    count: int
    seconds: int
    kinds: tuple[str, ...] = ()

    async def say(self, lane: Lane) -> Any:
        claimed = await claim(lane, ClaimRequest([self.worker] * self.count, [self.seconds] * self.count), self.kinds)
        assert all(job.kind in (self.kinds or (MODEL,)) for job in claimed)
        return [(job.token, job.attempt, job.model_id) for job in claimed]

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        now = before.observation.now
        if before.alone:
            kinds = self.kinds or (MODEL,)
            tokens = model.claim(self.worker, self.count, self.seconds, now, chosen(answer), kinds)
        else:
            tokens = [model.claim_one(token, self.worker, self.seconds, now) for token, *_ in answer]
        claimed = [model.jobs[token.job_id] for token in tokens]
        return [(job.token, job.attempt, job.request.model_id) for job in claimed[: self.count]]


@dataclass(frozen=True)
class Complete:
    items: tuple[Completion, ...]

    async def say(self, lane: Lane) -> Any:
        ends = Ends()
        return await complete(lane, self.items, ends), ends.completed

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        workers = workers_of(model)
        verdicts = model.complete(self.items)
        return with_models(model, self.items, verdicts), counted(workers, ended(self.items, verdicts))


@dataclass(frozen=True)
class CompleteColumns:
    items: tuple[Completion, ...]

    async def say(self, lane: Lane) -> Any:
        ends = Ends()
        groups = await complete_columns(lane, in_columns(self.items), ends)
        return [refused for group in groups for refused in group], ends.completed

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        workers = workers_of(model)
        verdicts = model.complete(self.items)
        pairs = zip(self.items, verdicts, strict=True)
        refused = [(Token(*item[:2]), verdict) for item, verdict in pairs if verdict is not Verdict.OK]
        return refused, counted(workers, ended(self.items, verdicts))


@dataclass(frozen=True)
class Fail:
    items: tuple[Failure, ...]

    async def say(self, lane: Lane) -> Any:
        ends = Ends()
        answers = await fail(lane, self.items, BACKOFFS, [1.0] * len(self.items), ends)
        return [(verdict, model_id) for verdict, model_id, _ in answers], ends.failed

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        workers = workers_of(model)
        verdicts = model.fail(self.items)
        return with_models(model, self.items, verdicts), counted(workers, ended(self.items, verdicts))


@dataclass(frozen=True)
class Expire:
    limit: int

    async def say(self, lane: Lane) -> Any:
        ends = Ends()
        rows = await expire(lane, self.limit, BACKOFFS, 1.0, ends)
        return [Token(row.job_id, row.lease_seq) for row in rows], ends.failed

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        workers = workers_of(model)
        tokens = self._predict(model, answer[0], before)
        return tokens, counted(workers, [token.job_id for token in tokens])

    def _predict(self, model: QueueModel, answer: Any, before: Before) -> list[Token]:
        if before.alone:
            assert len(answer) == len(set(answer)) <= self.limit
            tokens = model.expire(self.limit, before.worker_names)
            return answer if set(answer) == set(tokens) else tokens
        return model.expire_these(answer, before.worker_names)[: self.limit]


@dataclass(frozen=True)
class Release:
    tokens: tuple[Token, ...]

    async def say(self, lane: Lane) -> Any:
        return await release(lane, self.tokens)

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.release(self.tokens)


@dataclass(frozen=True)
class Extend:
    tokens: tuple[Token, ...]

    async def say(self, lane: Lane) -> Any:
        return [verdict for verdict, _ in await extend(lane, [(token, LATER) for token in self.tokens])]

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.extend(self.tokens)


@dataclass(frozen=True)
class Cancel:
    job_ids: tuple[int, ...]

    async def say(self, lane: Lane) -> Any:
        return sorted({answer.lease for answer in await cancel(lane, self.job_ids) if answer.lease})

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.cancel(self.job_ids)


@dataclass(frozen=True)
class Retry:
    job_ids: tuple[int, ...]

    async def say(self, lane: Lane) -> Any:
        answers = await retry(lane, self.job_ids)
        return sorted({answer.job_id for answer in answers if answer.verdict is RetryVerdict.RETRIED})

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.retry(self.job_ids)


@dataclass(frozen=True)
class Forget:
    model_id: int

    async def say(self, lane: Lane) -> Any:
        forgotten = await forget(lane, self.model_id)
        return forgotten.job_ids, [lease for _, lease in forgotten.leases]

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.forget(self.model_id)


@dataclass(frozen=True)
class Prune:
    """Delete what ended before this moment."""

    async def say(self, lane: Lane) -> Any:
        (found,) = await lane.fetch(FIND_OLD_JOBS, 0, 0.0, 1000)
        return await lane.run(partial(prune_found, job_ids=sorted(found["job_ids"] or ()), keep=0.0))

    def predict(self, model: QueueModel, answer: Any, before: Before) -> Any:
        return model.prune()


def chosen(claimed: Sequence[tuple[Token, int, int]]) -> int:
    """Return the lease_seq that the store has given to a claim; all its jobs share it."""
    (lease_seq,) = {token.lease_seq for token, *_ in claimed} or {0}
    return lease_seq


def workers_of(model: QueueModel) -> dict[int, int | None]:
    """The session that holds each job at present."""
    return {job.id: job.worker for job in model.jobs.values()}


def ended(items: Sequence[Completion | Failure], verdicts: Sequence[Verdict]) -> list[int]:
    """The jobs whose attempts these reports have ended."""
    return [item.job_id for item, verdict in zip(items, verdicts, strict=True) if verdict is Verdict.OK]


def counted(workers: Mapping[int, int | None], job_ids: Iterable[int]) -> "Counter[int | None]":
    """The ends of these jobs, by the sessions that held them."""
    return Counter(workers[job_id] for job_id in job_ids)


def with_models(
    model: QueueModel, items: Sequence[Completion | Failure], verdicts: Sequence[Verdict]
) -> list[tuple[Verdict, int]]:
    """The verdicts, each with the model of its job where that is known."""
    known = [model.jobs[item.job_id].request.model_id if item.job_id in model.jobs else 0 for item in items]
    return list(zip(verdicts, known, strict=True))
