"""Messages of results, read and committed: the same for streams and unary calls."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_runtime.process.pieces import PIECE, pieces
from thumbq_server.domain.columns import Report, together
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.domain.paths import PathRule
from thumbq_server.rpc.codec import columns
from thumbq_server.rpc.codec import results as codec

Commit = Callable[[Report], Awaitable[Sequence[tuple[Token, Verdict]]]]


async def take(
    results: Sequence[job_pb2.Result], paths: PathRule, history: str, commit: Commit
) -> list[queue_pb2.ResultException]:
    """Have `commit` commit the results. Return an exception for each that was not simply taken.

    Successes go on as columns: that takes half the time of one by one.
    """
    exceptions: list[queue_pb2.ResultException] = []
    async for piece in pieces(results):
        groups, others = columns.gathered(piece)
        reports, malformed = zip(
            codec.read_results(others, paths, history),
            *(columns.read_successes(group, paths, history) for group in groups),
            strict=True,
        )
        exceptions += chain(*malformed)
        exceptions += await _refused(together(reports), history, commit)
    return exceptions


async def take_successes(
    groups: Sequence[columns.Successes], paths: PathRule, history: str, commit: Commit
) -> list[queue_pb2.ResultException]:
    """Do the same with successes that came as columns; those of several leases are committed together."""
    exceptions: list[queue_pb2.ResultException] = []
    report, size = Report([], [], [], []), 0
    async for some in pieces(groups):
        for group in some:
            async for places in pieces(range(len(group.job_ids))):
                if size and size + len(places) > PIECE:
                    exceptions += await _refused(report, history, commit)
                    report, size = Report([], [], [], []), 0
                read, malformed = columns.read_successes(group.part(places), paths, history)
                report = Report([*report.completions, *read.completions], [], [], [*report.columns, *read.columns])
                size += len(places)
                exceptions += malformed
    return [*exceptions, *(await _refused(report, history, commit) if size else [])]


async def _refused(report: Report, history: str, commit: Commit) -> list[queue_pb2.ResultException]:
    refused = await commit(report)
    return [codec.result_exception(token, verdict, history) for token, verdict in refused]
