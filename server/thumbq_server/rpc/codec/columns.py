"""Jobs and successes as columns: an entry of each column for a job. Thousands of jobs a second go through here."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.columns import Claimed, Completions, Report
from thumbq_server.domain.job import MODEL, Completion, Token
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid, StaleLease
from thumbq_server.domain.requests import MAX_BATCH, check_completion, parse_token
from thumbq_server.rpc.codec.results import ReadResults, malformed_exception, stale_exception
from thumbq_server.rpc.codec.times import timestamp

# A lease token as servers spell it: job, and lease with its history.
_TOKEN = re.compile(r"([1-9][0-9]{,17})-([1-9][0-9]{,17}-[0-9a-z]{,24})").fullmatch


def job_columns(jobs: Claimed, history: str) -> queue_pb2.JobColumns:
    """Return jobs that one claim gave to one worker, so that their leases end together."""
    options, traces = jobs.options, jobs.traces
    with_options = [place for place, job_id in enumerate(jobs.job_ids) if job_id in options] if options else ()
    with_traces = [place for place, job_id in enumerate(jobs.job_ids) if job_id in traces] if traces else ()
    traced = [traces[jobs.job_ids[place]] for place in with_traces]
    return queue_pb2.JobColumns(
        lease=f"{jobs.lease_seq}-{history}",
        ids=jobs.job_ids,
        model_ids=jobs.model_ids,
        model_hashes=jobs.model_hashes,
        attempt_counts=jobs.attempts,
        priorities=jobs.priorities,
        max_attempts=jobs.max_attempts,
        created_at=jobs.created_at,
        claimed_at=timestamp(jobs.claimed_at),
        lease_expires_at=timestamp(jobs.expires_at[0]),
        asset_types=() if set(jobs.kinds) == {MODEL} else jobs.kinds,
        with_options=with_options,
        options=[options[jobs.job_ids[place]] for place in with_options],
        with_traces=with_traces,
        traceparents=[trace.traceparent for trace in traced],
        earlier_attempts=[trace.earlier_attempt or "" for trace in traced],
    )


class Successes(NamedTuple):
    """Successes that share a lease, as columns."""

    lease: str
    job_ids: Sequence[int]
    thumbnail_paths: Sequence[str]
    sizes_bytes: Sequence[int]
    widths: Sequence[int]
    heights: Sequence[int]

    def part(self, places: Sequence[int]) -> "Successes":
        """Return those at some consecutive places."""
        if len(places) == len(self.job_ids):
            return self
        lease, *columns = self
        return Successes._make((lease, *(column[places[0] : places[-1] + 1] for column in columns)))


def successes(groups: Sequence[queue_pb2.CompletedColumns], beside: int) -> list[Successes]:
    """Return the groups of a message, the empty ones left out. Raises Invalid when the columns of one differ in length.

    The message has at most MAX_BATCH results, those `beside` the columns included.
    """
    found: list[Successes] = []
    for group in groups:
        columns = (group.job_ids, group.thumbnail_paths, group.sizes_bytes, group.widths, group.heights)
        if len({len(column) for column in columns}) > 1:
            raise Invalid("the columns of completed jobs must have one length")
        beside += len(group.job_ids)
        if group.job_ids:
            found.append(Successes(group.lease, *columns))
    if beside > MAX_BATCH:
        raise Invalid(f"results has {beside} items; at most {MAX_BATCH} are taken at once")
    return found


def gathered(results: Iterable[job_pb2.Result]) -> tuple[list[Successes], list[job_pb2.Result]]:
    """Return the successes among single results, lease by lease, and the other results.

    A success whose token is not spelled as servers do is among the others: what its worker learns echoes that spelling.
    """
    rows: dict[str, list[tuple[int, str, int, int, int]]] = {}
    others: list[job_pb2.Result] = []
    for result in results:
        if result.HasField("complete") and (token := _TOKEN(result.lease_token)):
            made = result.complete
            row = (int(token[1]), made.thumbnail_path, made.size_bytes, made.width, made.height)
            rows.setdefault(token[2], []).append(row)
        else:
            others.append(result)
    return [Successes(lease, *zip(*of_one, strict=True)) for lease, of_one in rows.items()], others


def read_successes(group: Successes, paths: PathRule, history: str) -> ReadResults:
    """Return the report in a group, and an exception for each success that is malformed or of another history."""
    try:
        lease_seq = parse_token(f"1-{group.lease}", history).lease_seq
        _check_all(group, paths)
    except (Invalid, StaleLease):
        return _read_one_by_one(group, paths, history)
    return ReadResults(Report([], [], [], [Completions(lease_seq, *group[1:])]), [])


def _check_all(group: Successes, paths: PathRule) -> None:
    """Raise Invalid if an entry is malformed: the smallest numbers are valid only if all are."""
    _, job_ids, thumbnail_paths, *numbers = group
    _check(Token(min(job_ids), 1), (thumbnail_paths[0], *map(min, numbers)), paths)
    paths.check_all(thumbnail_paths)


def _read_one_by_one(group: Successes, paths: PathRule, history: str) -> ReadResults:
    completions: list[Completion] = []
    exceptions: list[queue_pb2.ResultException] = []
    lease, *columns = group
    for job_id, *picture in zip(*columns, strict=True):
        lease_token = f"{job_id}-{lease}"
        try:
            completions.append(_check(parse_token(lease_token, history), picture, paths))
        except StaleLease:
            exceptions.append(stale_exception(lease_token))
        except Invalid as error:
            exceptions.append(malformed_exception(lease_token, error, max(job_id, 0)))
    return ReadResults(Report(completions, [], []), exceptions)


def _check(token: Token, picture: Iterable[Any], paths: PathRule) -> Completion:
    if token.job_id < 1:
        raise Invalid("jobIds must be positive")
    thumbnail_path, size_bytes, width, height = picture
    return check_completion(token, thumbnail_path, size_bytes, width, height, paths)
