"""Results: how workers say that their attempts ended, and what they learn of it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.columns import Report
from thumbq_server.domain.job import Completion, Failure, LostReason, Token, Verdict, format_token
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid, StaleLease
from thumbq_server.domain.requests import check_completion, check_failure, parse_token
from thumbq_server.domain.traces import read_traceparent
from thumbq_server.rpc.codec.jobs import read_token
from thumbq_server.rpc.codec.times import timedelta_of

MAX_ECHO = 100

EXCEPTION_CODE = {
    Verdict.ALREADY_DONE: queue_pb2.RESULT_CODE_ALREADY_DONE,
    Verdict.STALE: queue_pb2.RESULT_CODE_STALE,
    Verdict.NOT_FOUND: queue_pb2.RESULT_CODE_STALE,
    Verdict.NOT_PROCESSING: queue_pb2.RESULT_CODE_STALE,
}
LOST_REASON = {
    LostReason.EXPIRED: job_pb2.LEASE_LOST_REASON_EXPIRED,
    LostReason.CANCELLED: job_pb2.LEASE_LOST_REASON_CANCELLED,
    LostReason.TAKEN_OVER: job_pb2.LEASE_LOST_REASON_TAKEN_OVER,
}


class ReadResults(NamedTuple):
    """A message of results: the report in it, and an exception for each malformed result."""

    report: Report
    exceptions: list[queue_pb2.ResultException]


def read_results(results: Iterable[job_pb2.Result], paths: PathRule, history: str) -> ReadResults:
    """Sort results by verb. Thousands a second go through here."""
    completions: list[Completion] = []
    failures: list[Failure] = []
    releases: list[Token] = []
    exceptions: list[queue_pb2.ResultException] = []
    for result in results:
        token = None
        try:
            token = parse_token(result.lease_token, history)
            match result.WhichOneof("outcome"):
                case "complete":
                    completions.append(_completion(token, result.complete, paths))
                case "fail":
                    failures.append(_failure(token, result.fail))
                case "release":
                    releases.append(token)
                case _:
                    raise Invalid("a result needs complete, fail or release")
        except StaleLease:
            exceptions.append(stale_exception(result.lease_token))
        except Invalid as error:
            exceptions.append(malformed_exception(result.lease_token, error, token.job_id if token else 0))
    return ReadResults(Report(completions, failures, releases), exceptions)


def stale_exception(lease_token: str) -> queue_pb2.ResultException:
    """Return what a worker learns of a result whose lease is of another history."""
    return _exception(echo(lease_token), Verdict.STALE)


def malformed_exception(lease_token: str, error: Invalid, job_id: int) -> queue_pb2.ResultException:
    """Return what a worker learns of a result that is malformed. `job_id` 0: it is unknown."""
    return queue_pb2.ResultException(
        lease_token=echo(lease_token), code=queue_pb2.RESULT_CODE_INVALID, message=str(error), job_id=job_id
    )


def echo(lease_token: str) -> str:
    """Return what a worker sent as a token, cut when it is longer than any token is."""
    return lease_token[:MAX_ECHO]


def read_tokens(texts: Sequence[str], history: str) -> tuple[list[tuple[str, Token]], list[str]]:
    """Return the tokens that a lease can have, each with its text; and the other texts, as a worker is told of them."""
    known: list[tuple[str, Token]] = []
    others: list[str] = []
    for text in texts:
        try:
            known.append((text, parse_token(text, history)))
        except (Invalid, StaleLease):
            others.append(echo(text))
    return known, others


def _completion(token: Token, picture: job_pb2.Result.Complete, paths: PathRule) -> Completion:
    return check_completion(token, picture.thumbnail_path, picture.size_bytes, picture.width, picture.height, paths)


def _failure(token: Token, failure: job_pb2.Result.Fail | queue_pb2.FailJobRequest) -> Failure:
    valid = check_failure(
        token,
        failure.error_message,
        failure.retryable if failure.HasField("retryable") else True,
        timedelta_of(failure.retry_delay) if failure.HasField("retry_delay") else None,
    )
    return valid._replace(traceparent=read_traceparent(failure.traceparent)) if failure.traceparent else valid


def read_completion(request: queue_pb2.CompleteJobRequest, paths: PathRule, history: str) -> Completion:
    """Return what a unary call reports. Raises Invalid, StaleLease."""
    return check_completion(
        read_token(request, history),
        request.thumbnail_path,
        request.size_bytes if request.HasField("size_bytes") else None,
        request.width if request.HasField("width") else None,
        request.height if request.HasField("height") else None,
        paths,
    )


def read_failure(request: queue_pb2.FailJobRequest, history: str) -> Failure:
    """Return what a unary call reports. Raises Invalid, StaleLease."""
    return _failure(read_token(request, history), request)


def result_exception(token: Token, verdict: Verdict, history: str) -> queue_pb2.ResultException:
    """Return what a worker learns of a result that was not simply taken."""
    return _exception(format_token(*token, history), verdict, token.job_id)


def _exception(lease_token: str, verdict: Verdict, job_id: int = 0) -> queue_pb2.ResultException:
    return queue_pb2.ResultException(
        lease_token=lease_token,
        code=EXCEPTION_CODE[verdict],
        message=f"The result was not taken: {verdict.value}.",
        job_id=job_id,
    )
