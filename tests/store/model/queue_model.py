"""The state diagram of a job, as a program: what each verb answers, and what is true afterwards.

Its caller passes the few things that PostgreSQL is free to choose: ids, the numbers of requests, and the time.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from tests.store.model.model_records import Announcement, Job, Refuted
from tests.store.model.queue_state import CHOSEN, QueueState
from tests.store.model.requests_of_a_batch import Key, asks, firsts_and_changes, key_of, several_files
from thumbq_server.domain.job import MODEL, Completion, EnqueueOutcome, Failure, NewJob, Token, Verdict

LIVE = ("Pending", "Processing")
BACKOFF = 3000.0


class QueueModel(QueueState):
    """The queue, without a database. Each verb returns what the store has to answer."""

    # enqueue

    def enqueue(
        self, requests: Sequence[NewJob], ids: Sequence[int], hand_out: Callable[[list[Job]], None] = lambda _: None
    ) -> list[tuple[int, EnqueueOutcome]]:
        """`ids` are those that the store answered: new jobs have them from there. `hand_out` may claim the new jobs."""
        answered: dict[Key, tuple[int, EnqueueOutcome]] = {}
        id_of = dict(zip([key_of(request) for request in requests], ids, strict=True))
        known = {key_of(job.request): job for job in self.jobs.values()}
        wanted, changes = firsts_and_changes(requests)
        for key, request in wanted.items():
            if key not in known:
                answered[key] = self._create(request, id_of[key]), EnqueueOutcome.CREATED
        created = [self.jobs[job_id] for job_id, _ in answered.values()]
        plans = {key: self._plan(known[key], request) for key, request in wanted.items() if key in known}
        for key, plan in plans.items():
            answered[key] = known[key].id, self._revive(known[key], wanted[key], plan)
        hand_out(created)
        answers = []
        for request in requests:
            job_id, outcome = answered[key_of(request)]
            answers.append((job_id, outcome))
            answered[key_of(request)] = job_id, EnqueueOutcome.EXISTING
        for key, request in changes.items():
            self._change(self.jobs[id_of[key]], request, requests, answers)
        self._put_in_order([self.jobs[id_of[key]] for key in several_files(requests)])
        return answers

    def _change(
        self, job: Job, request: NewJob, requests: Sequence[NewJob], answers: list[tuple[int, EnqueueOutcome]]
    ) -> None:
        """The last of several requests for one job that asks for something else comes after the first one."""
        plan = self._plan(job, request)
        if plan in {"keep", "renew"}:
            return
        outcome = self._revive(job, request, plan)
        same = [place for place, other in enumerate(requests) if asks(other) == asks(request)]
        found = [place for place in same if answers[place][1] is EnqueueOutcome.EXISTING]
        if found:
            answers[found[-1]] = job.id, outcome

    def _create(self, request: NewJob, job_id: int) -> int:
        if job_id in self.jobs:
            raise Refuted(f"job {job_id} is another's")
        self.jobs[job_id] = Job(job_id, request, self._next_number(), request.delay)
        self._announce("Pending", self.jobs[job_id])
        return job_id

    def _plan(self, job: Job, request: NewJob) -> str:
        """What an enqueue does with a known job."""
        differs = request.differs_from(*job.asked_as)
        if job.status == "Processing" and (request.force or differs):
            return "run again"
        kept = job.status in LIVE or (job.status == "Completed" and self._is_shown(job))
        if kept and not differs and not (request.force and (job.status == "Completed" or job.attempt)):
            return "keep" if self._is_newest(job) else "renew"
        return "start anew"

    def _revive(self, job: Job, request: NewJob, plan: str) -> EnqueueOutcome:
        if plan == "start anew":
            self._start_anew(job, request)
        elif plan == "run again":
            job.rerun, job.rerun_as = self._next_number(), (request.kind, request.options)
        elif plan == "renew":
            self._renew(job)
        return EnqueueOutcome.RESET if plan in {"start anew", "run again"} else EnqueueOutcome.EXISTING

    def renew(self, request: NewJob) -> None:
        """The first half of an enqueue that then finds the job changed: it is the newest request already."""
        known = [job for job in self.jobs.values() if key_of(job.request) == key_of(request)]
        if not known or self._plan(known[0], request) != "renew":
            raise Refuted(f"nothing to renew for {request}")
        self._renew(known[0])

    def _start_anew(self, job: Job, request: NewJob) -> None:
        job.request = request
        job.number = self._next_number()
        job.run_at = request.delay
        job.status, job.attempt, job.error_message = "Pending", 0, None
        self._begins_another_run(job)
        self._announce("Pending", job)

    # claims and their ends

    def claim(
        self, worker: int, count: int, seconds: int, now: datetime, lease_seq: int, kinds: Sequence[str] = (MODEL,)
    ) -> list[Token]:
        """Claim the first `count` that are due."""
        of_kinds = [job for job in self.jobs.values() if job.request.kind in kinds]
        due = sorted((job for job in of_kinds if job.is_due(now)), key=Job.place)
        return [self.claim_one(Token(job.id, lease_seq), worker, seconds, now) for job in due[:count]]

    def claim_one(self, token: Token, worker: int, seconds: int, now: datetime) -> Token:
        """Claim this job under this lease_seq, as the store says that it has."""
        job = self.jobs.get(token.job_id)
        if job is None or not job.is_due(now):
            raise Refuted(f"job {token.job_id} is not due: {job}")
        if token.lease_seq <= job.lease_seq:
            raise Refuted(f"{token} is no later than the last lease of {job}")
        job.status, job.worker, job.overdue = "Processing", worker, seconds == 0
        job.attempt += 1
        job.lease_seq = token.lease_seq
        return token

    def complete(self, items: Sequence[Completion]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(items)
        ended: dict[int, Completion] = {}
        for index, item in enumerate(items):
            job = self._held(item)
            if job is not None and job.id not in ended:
                verdicts[index] = Verdict.OK
                ended[job.id] = item
        self.completed |= {self.jobs[job_id].token for job_id in ended}
        for job in self._newest_of_each_model(ended):
            self._show(job, job.number, "Ready", path=ended[job.id].thumbnail_path)
        for job in map(self.jobs.__getitem__, ended):
            if job.rerun is not None:
                self._run_again(job, None)
            else:
                job.status, job.error_message = "Completed", None
        return [
            verdict or self._verdict(Token(item.job_id, item.lease_seq), "Completed")
            for item, verdict in zip(items, verdicts, strict=True)
        ]

    def fail(self, items: Sequence[Failure]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(items)
        ended: dict[int, Failure] = {}
        for index, item in enumerate(items):
            job = self._held(item)
            if job is not None and job.id not in ended:
                verdicts[index] = Verdict.OK
                ended[job.id] = item
        self._end_without_picture(ended)
        return [
            verdict or self._verdict(Token(item.job_id, item.lease_seq), "Failed")
            for item, verdict in zip(items, verdicts, strict=True)
        ]

    def expire(self, limit: int, worker_names: dict[int, str]) -> list[Token]:
        """End the first `limit` leases that ran out."""
        running_out = (job for job in self.in_status("Processing") if job.overdue)
        overdue = sorted(running_out, key=lambda job: (job.token.lease_seq, job.id))
        return self.expire_these([job.token for job in overdue[:limit]], worker_names)

    def expire_these(self, tokens: Sequence[Token], worker_names: dict[int, str]) -> list[Token]:
        """End these leases, as the store says that it has."""
        ended: dict[int, Failure] = {}
        for token in tokens:
            job = self._held(token)
            if job is None or not job.overdue or job.worker is None:
                raise Refuted(f"lease {token} has not run out: {job}")
            message = f"Lease expired: worker {worker_names[job.worker]} stopped responding"
            ended[job.id] = Failure(*token, message, retryable=True, retry_delay=None)
        self._end_without_picture(ended)
        return list(tokens)

    def _end_without_picture(self, ended: dict[int, Failure]) -> None:
        will_retry = {}
        for job_id, item in ended.items():
            job = self.jobs[job_id]
            attempts_left = item.retryable and job.attempt < job.request.max_attempts
            will_retry[job_id] = job.rerun is not None or attempts_left
        for job in self._newest_of_each_model(ended):
            self._show(job, job.number, "Failed", ended[job.id].error_message, will_retry[job.id])
        for job_id, item in ended.items():
            job = self.jobs[job_id]
            if job.rerun is not None:
                self._run_again(job, item.error_message)
            elif will_retry[job_id]:
                job.status, job.error_message = "Pending", item.error_message
                job.run_at = BACKOFF if item.retry_delay is None else item.retry_delay
            else:
                job.status, job.error_message = "Failed", item.error_message

    def _run_again(self, job: Job, error_message: str | None) -> None:
        job.number = max(job.number, job.rerun or 0)
        job.status, job.attempt, job.error_message, job.run_at = "Pending", 0, error_message, 0.0
        self._become(job)

    def _become(self, job: Job) -> None:
        """Take the kind and the options of the request that the job runs again for."""
        if job.rerun is not None:
            self._begins_another_run(job)
        kind, options = job.asked_as
        job.request = job.request._replace(kind=kind, options=options)
        job.rerun = job.rerun_as = None

    def release(self, tokens: Sequence[Token]) -> list[Verdict]:
        held = {token: job for token in tokens if (job := self._held(token)) is not None}
        for job in held.values():
            job.status = "Pending"
            job.attempt = 0 if job.rerun else job.attempt - 1
            job.number = max(job.number, job.rerun or 0)
            self._become(job)
        return [Verdict.OK if token in held else self._verdict(token, None) for token in tokens]

    def extend(self, tokens: Sequence[Token]) -> list[Verdict]:
        held = {token: job for token in tokens if (job := self._held(token)) is not None}
        for job in held.values():
            job.overdue = False
        return [Verdict.OK if token in held else self._verdict(token, None) for token in tokens]

    def _held(self, report: Token | Completion | Failure) -> Job | None:
        """The job whose lease this is. lease_seq 0: whatever lease the job has."""
        job = self.jobs.get(report.job_id)
        mine = job is not None and job.status == "Processing" and report.lease_seq in {0, job.lease_seq}
        return job if mine else None

    def _verdict(self, token: Token, done: str | None) -> Verdict:
        job = self.jobs.get(token.job_id)
        if job is None:
            return Verdict.NOT_FOUND
        if not token.lease_seq:
            return Verdict.NOT_PROCESSING
        if done == "Completed" and token in self.completed:
            return Verdict.ALREADY_DONE
        failed = done == job.status == "Failed" and job.token == token
        return Verdict.ALREADY_DONE if failed else Verdict.STALE

    # what an operator does

    def cancel(self, job_ids: Iterable[int]) -> list[Token]:
        cancelled = []
        for job_id in sorted(set(job_ids) & self.jobs.keys()):
            job = self.jobs[job_id]
            if job.status in LIVE:
                cancelled.append(job.token)
                if job.status == "Pending":
                    job.lease_seq = CHOSEN
                job.status, job.rerun, job.rerun_as = "Cancelled", None, None
                shown = self.thumbnails.get(job.request.model_id)
                self._announce(shown.status if shown else "None", job, shown.error_message if shown else None)
        return cancelled

    def retry(self, job_ids: Iterable[int]) -> list[int]:
        retried = []
        for job_id in sorted(set(job_ids) & self.jobs.keys()):
            job = self.jobs[job_id]
            if job.status not in LIVE or (job.status == "Pending" and job.attempt):
                self._start_anew(job, job.request._replace(delay=0.0))
                retried.append(job_id)
        return retried

    def forget(self, model_id: int) -> tuple[list[int], list[Token]]:
        jobs = sorted((job for job in self.jobs.values() if job.request.model_id == model_id), key=lambda job: job.id)
        if jobs:
            self.announced.append(Announcement("None", model_id, jobs[-1].id, 0))
        for job in jobs:
            del self.jobs[job.id]
        self.thumbnails.pop(model_id, None)
        return [job.id for job in jobs], [job.token for job in jobs if job.status == "Processing"]

    def prune(self) -> int:
        """Delete ended jobs that a newer request has replaced, and that show nothing."""
        old = [job for job in self.jobs.values() if job.status not in LIVE and self._is_replaced(job)]
        for job in old:
            del self.jobs[job.id]
        return len(old)
