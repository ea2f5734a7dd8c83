"""Requests for one job or one model in one batch. They come from one caller, or from several at the same moment."""

from collections import Counter
from collections.abc import Mapping, Sequence

from thumbq_server.domain.job import Enqueued, EnqueueOutcome, NewJob

# What makes two requests the same job: model_id and model_hash.
JobKey = tuple[int, bytes]


def key_of(job: NewJob) -> JobKey:
    """Return what makes two requests the same job."""
    return job.model_id, job.model_hash


def requests_by_job(
    ranked: Sequence[NewJob], jobs: Sequence[NewJob]
) -> tuple[dict[JobKey, NewJob], dict[JobKey, NewJob]]:
    """Return the first request for each job, and the later one that changes the job after that, if there is any.

    Which one is the first, the order of `ranked` says. In `jobs` the same requests have the order of their callers: the
    last of them that asks for another kind, or for other options that matter or with force, changes the job. None does
    if that one asks for what the first asked for; the force of those between them is the first one's then.

    Of [as a Model, as a Sound, as a Texture] for one job, the Model comes first, and the Texture is the later request:
    the job is a Texture in the end. Of [as a Model, as a Sound, as a Model] there is no later request.
    """
    first: dict[JobKey, NewJob] = {}
    for job in ranked:
        first.setdefault(key_of(job), job)
    later: dict[JobKey, NewJob] = {}
    if len(first) == len(jobs):
        return first, later
    for job in jobs:
        key = key_of(job)
        latest = later if key in later else first
        before = latest[key]
        if _are_alike(job, before):
            latest[key] = _asked_for_by_both(before, job)
        elif job.kind != before.kind or job.options_matter or job.force:
            change = _asked_for_by_both(job, before) if latest is later else job
            if not job.force and _are_alike(job, first[key]):
                # It takes back what the requests before it have changed, so the job need not start twice.
                first[key] = _asked_for_by_both(first[key], change)
                del later[key]
            else:
                later[key] = change
    return first, later


def several_files(jobs: Sequence[NewJob]) -> dict[JobKey, NewJob]:
    """Return the last request for each file of a model of which `jobs` name several files, in the order of `jobs`."""
    if len({job.model_id for job in jobs}) == len(jobs):
        return {}
    last: dict[JobKey, NewJob] = {}
    for job in jobs:
        last.pop(key_of(job), None)
        last[key_of(job)] = job
    files = Counter(model_id for model_id, _ in last)
    return {key: job for key, job in last.items() if files[job.model_id] > 1}


def tell_changes(
    answers: list[Enqueued],
    jobs: Sequence[NewJob],
    later: Mapping[JobKey, NewJob],
    changed: Mapping[JobKey, Enqueued],
) -> None:
    """Put what became of `later` in the place of the last request for each that found its job there already."""
    places: dict[JobKey, int] = {}
    for place, (job, answer) in enumerate(zip(jobs, answers, strict=True)):
        key = key_of(job)
        if key in changed and answer.outcome is EnqueueOutcome.EXISTING and _are_alike(job, later[key]):
            places[key] = place
    for key, place in places.items():
        answers[place] = changed[key]


def _are_alike(one: NewJob, other: NewJob) -> bool:
    """Return whether both ask for the same kind and the same options."""
    return (one.kind, one.options) == (other.kind, other.options)


def _asked_for_by_both(job: NewJob, other: NewJob) -> NewJob:
    """Return `job`, with force and options that matter if either has them."""
    wishes = job.force or other.force, job.options_matter or other.options_matter
    return job if wishes == (job.force, job.options_matter) else job._replace(force=wishes[0], options_matter=wishes[1])
