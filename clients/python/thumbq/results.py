"""How the ends of jobs stand in a message of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.job_pb2 import Result
from thumbq.v1.queue_pb2 import CompletedColumns, StreamJobsRequest

# The queue keeps 1000 characters and marks a text that it has cut, so longer texts need not be sent.
ERROR_TEXT_LIMIT = 2000
_PATH_LIMIT = 500

# How a job ended; None: it is released.
Ending = Thumbnail | JobFailed | None
# A lease token, and how its job ended.
Entry = tuple[str, Ending]


def message(
    entries: Iterable[Entry], *, columns: bool, traceparent: Callable[[str], str] | None = None
) -> tuple[StreamJobsRequest, dict[str, JobFailed]]:
    """Return a Results message, and the failures in it of thumbnails that do not fit the types of the protocol.

    `traceparent` returns the span of an attempt by its token.
    """
    built = StreamJobsRequest()
    unfit: dict[str, JobFailed] = {}
    for token, ending in _add_columns(built.results, entries) if columns else entries:
        result = built.results.results.add(lease_token=token)
        try:
            _fill(result, ending)
        except (TypeError, ValueError) as error:
            result.ClearField("outcome")
            unfit[token] = JobFailed(f"{type(error).__name__}: {error}")
            _fill(result, unfit[token])
        if traceparent and result.HasField("fail"):
            result.fail.traceparent = traceparent(token)
    return built, unfit


def _add_columns(results: StreamJobsRequest.Results, entries: Iterable[Entry]) -> list[Entry]:
    """Add the successes as columns, lease by lease. Return the entries that do not go into columns."""
    groups: dict[str, list[tuple[str, Thumbnail]]] = {}
    rest: list[Entry] = []
    for entry in entries:
        token, ending = entry
        if isinstance(ending, Thumbnail):
            job_id, _, lease = token.partition("-")
            groups.setdefault(lease, []).append((job_id, ending))
        else:
            rest.append(entry)
    for lease, group in groups.items():
        try:
            results.completed.append(_columns(lease, group))
        except (TypeError, ValueError):
            rest.extend((f"{job_id}-{lease}", thumbnail) for job_id, thumbnail in group)
    return rest


def _columns(lease: str, group: Sequence[tuple[str, Thumbnail]]) -> CompletedColumns:
    """Return the successes of one lease as columns. Raises TypeError, ValueError."""
    job_ids, thumbnails = zip(*group, strict=True)
    paths, sizes_bytes, widths, heights = zip(*thumbnails, strict=True)
    _check_length(max(paths, key=len))
    return CompletedColumns(
        lease=lease,
        job_ids=list(map(int, job_ids)),
        thumbnail_paths=paths,
        sizes_bytes=sizes_bytes,
        widths=widths,
        heights=heights,
    )


def _check_length(path: str) -> None:
    if len(path) > _PATH_LIMIT:
        raise ValueError(f"the thumbnail's path is longer than {_PATH_LIMIT} characters")


def _fill(result: Result, ending: Ending) -> None:
    """Write how a job ended. Raises TypeError, ValueError for a thumbnail that does not fit."""
    if ending is None:
        result.release.SetInParent()
    elif isinstance(ending, JobFailed):
        _fill_failure(result, ending)
    else:
        _check_length(ending.path)
        complete = result.complete
        complete.thumbnail_path, complete.size_bytes, complete.width, complete.height = ending


def _fill_failure(result: Result, failure: JobFailed) -> None:
    # Protobuf cannot hold lone surrogates, which the names of undecodable files contain.
    text = failure.message[:ERROR_TEXT_LIMIT].encode("utf-8", "replace").decode()
    result.fail.error_message = text if text.strip() else "The handler gave no reason."
    if not failure.retryable:
        result.fail.retryable = False
    if failure.retry_delay is not None:
        result.fail.retry_delay.FromMicroseconds(round(failure.retry_delay * 1_000_000))
