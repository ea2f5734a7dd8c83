"""Messages of results, read and committed: the same for streams and unary calls."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.domain.requests import PathRule
from thumbq_server.engine.queue import Report
from thumbq_server.rpc.codec import results as codec

Commit = Callable[[Report], Awaitable[Sequence[tuple[Token, Verdict]]]]


async def take(results: Iterable[job_pb2.Result], paths: PathRule, commit: Commit) -> list[queue_pb2.ResultException]:
    """Have `commit` commit the results. Return an exception for each that was not simply taken."""
    report, exceptions = codec.read_results(results, paths)
    refused = await commit(report)
    return [*exceptions, *(codec.result_exception(token, verdict) for token, verdict in refused)]
