"""The state of the modelled queue: its jobs, the thumbnails of the models, and the announcements."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Self

from tests.store.model.model_records import Announcement, Job, Thumbnail
from thumbq_server.domain.job import Token

# a lease_seq that the store has chosen, and that nothing has shown yet
CHOSEN = -1


@dataclass
class QueueState:
    """All that the verbs read and change."""

    jobs: dict[int, Job] = field(default_factory=dict)
    thumbnails: dict[int, Thumbnail] = field(default_factory=dict)
    announced: list[Announcement] = field(default_factory=list)
    # the leases that ended with a picture
    completed: set[Token] = field(default_factory=set)
    last_number: int = 0

    def copy(self) -> Self:
        return deepcopy(self)

    def in_status(self, *statuses: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def _is_shown(self, job: Job) -> bool:
        shown = self.thumbnails.get(job.request.model_id)
        return shown is not None and shown.job_id == job.id and shown.status == "Ready"

    def _is_newest(self, job: Job) -> bool:
        others = [o for o in self.jobs.values() if o.request.model_id == job.request.model_id and o.id != job.id]
        return all(other.last_number <= job.last_number for other in others)

    def _renew(self, job: Job) -> None:
        """Make it the newest request; the picture that it shows goes with it, or the failure of its present run."""
        job.number = self._next_number()
        shown = self.thumbnails.get(job.request.model_id)
        if shown and shown.job_id == job.id and (shown.status == "Ready" or not shown.is_earlier):
            shown.number = job.number

    def _put_in_order(self, jobs: Sequence[Job]) -> None:
        """Make each of these requests newer than those before it, and than all others for its model."""
        late: set[int] = set()
        for place, job in enumerate(jobs):
            model_id = job.request.model_id
            later = {other.id for other in jobs[place:]}
            before = [o for o in self.jobs.values() if o.request.model_id == model_id and o.id not in later]
            if model_id in late or any(other.last_number >= job.last_number for other in before):
                late.add(model_id)
                if job.number < job.last_number:
                    job.rerun = self._next_number()
                else:
                    self._renew(job)

    def _is_replaced(self, job: Job) -> bool:
        others = [other for other in self.jobs.values() if other.request.model_id == job.request.model_id]
        shown = self.thumbnails.get(job.request.model_id)
        shows_it = shown is not None and job.id in {shown.job_id, shown.pictured}
        return any(other.number > job.number for other in others) and not shows_it

    def _begins_another_run(self, job: Job) -> None:
        if (shown := self.thumbnails.get(job.request.model_id)) and shown.job_id == job.id:
            shown.is_earlier = True

    def _newest_of_each_model(self, job_ids: Iterable[int]) -> list[Job]:
        jobs = sorted((self.jobs[job_id] for job_id in job_ids), key=lambda job: job.number)
        return list({job.request.model_id: job for job in jobs}.values())

    def _show(
        self, job: Job, number: int, status: str, error_message: str | None = None,
        will_retry: bool = False, path: str | None = None,
    ) -> None:  # fmt: skip
        """The newest request of a model decides what it shows; a picture stays when a later request fails."""
        before = self.thumbnails.get(job.request.model_id)
        if before is None or before.number <= number:
            pictured = job.id if path else (before.pictured if before else None)
            path = path or (before.path if before else None)
            self.thumbnails[job.request.model_id] = Thumbnail(
                job.id, number, job.attempt, status, error_message, will_retry, path, pictured
            )
            self._announce(status, job, error_message, will_retry)

    def _announce(self, status: str, job: Job, error_message: str | None = None, will_retry: bool = False) -> None:
        self.announced.append(
            Announcement(status, job.request.model_id, job.id, job.attempt, error_message, will_retry)
        )

    def _next_number(self) -> int:
        self.last_number += 1
        return self.last_number
