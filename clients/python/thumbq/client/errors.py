"""The exceptions of Client and BlockingClient: what went wrong, and whether the same call may succeed later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import grpc

from thumbq.connection import told_to_wait
from thumbq.tls import explain

_Fields = ParamSpec("_Fields")
_Message = TypeVar("_Message")


class ThumbqError(Exception):
    """A call did not succeed. `retryable` says whether the same call may succeed later.

    `code` is the status that the server or the connection answered with, where there was an answer. `reason` says why a
    connection with TLS failed.
    """

    retryable = False
    code: grpc.StatusCode | None = None
    reason = ""
    # Seconds after which the server allows another attempt, where it says so.
    retry_after: float | None = None


class InvalidRequest(ThumbqError, ValueError):
    """The queue never takes this; correct the call."""


class InvalidJob(InvalidRequest):
    """The queue never takes this job; correct its fields."""


class NotFound(ThumbqError, LookupError):
    """There is no such job, or it was pruned."""


class Conflict(ThumbqError):
    """The job is not in a state that allows this; read it again."""


class AccessDenied(ThumbqError):
    """The server does not let this caller do this."""


class Unsupported(ThumbqError):
    """The server does not know this call; it may be older than this client."""


class Unavailable(ThumbqError):
    """The server was not reached in time, or has too much to do; try again after a pause."""

    retryable = True


class Unsuccessful(ThumbqError):
    """The job that was waited for ended without a picture: `status` is "Failed" or "Cancelled"."""

    def __init__(self, message: str, job_id: int, status: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets it whole, as of a pool or of Celery."""
        return type(self), (*self.args, self.job_id, self.status), self.__dict__


_BY_CODE: dict[grpc.StatusCode, type[ThumbqError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: AccessDenied,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
}


def checked(kind: Callable[_Fields, _Message], /, *nothing: _Fields.args, **fields: _Fields.kwargs) -> _Message:
    """Return a message of the protocol with these fields. Raises InvalidRequest for what they cannot hold."""
    try:
        return kind(*nothing, **fields)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


def error_of(error: grpc.aio.AioRpcError, target: str, invalid: type[ThumbqError] | None = None) -> ThumbqError:
    """Return the exception that a call's status stands for; INVALID_ARGUMENT is `invalid`, if that is given."""
    named = error_for(error.code(), error.details() or "", target, invalid)
    named.retry_after = told_to_wait(error) or None
    return named


def error_for(
    code: grpc.StatusCode, details: str, target: str, invalid: type[ThumbqError] | None = None
) -> ThumbqError:
    """Do the same for a status that came in another way."""
    kind = invalid if invalid and code is grpc.StatusCode.INVALID_ARGUMENT else _BY_CODE.get(code, ThumbqError)
    text = details or code.name
    reason = explain(text, target) if kind is Unavailable else ""
    named = kind(f"{target}: {reason or text}" if kind is Unavailable else text)
    named.code, named.reason = code, reason
    return named
