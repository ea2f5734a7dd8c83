"""Messages of results, read and committed: the same for streams and unary calls."""

from collections.abc import Awaitable, Callable, Sequence

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_runtime.pieces import pieces
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.domain.paths import PathRule
from thumbq_server.engine.queue import Report
from thumbq_server.rpc.codec import results as codec

Commit = Callable[[Report], Awaitable[Sequence[tuple[Token, Verdict]]]]


async def take(
    results: Sequence[job_pb2.Result], paths: PathRule, history: str, commit: Commit
) -> list[queue_pb2.ResultException]:
    """Have `commit` commit the results. Return an exception for each that was not simply taken."""
    exceptions: list[queue_pb2.ResultException] = []
    async for piece in pieces(results):
        report, malformed = codec.read_results(piece, paths, history)
        refused = await commit(report)
        exceptions += malformed
        exceptions += (codec.result_exception(token, verdict, history) for token, verdict in refused)
    return exceptions
