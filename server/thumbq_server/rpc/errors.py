"""What goes wrong, in the words of gRPC."""

import functools
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import structlog

from thumbq_runtime.limits.rates import TooOften
from thumbq_runtime.outage import DATABASE_AWAY, failure
from thumbq_server.domain.refusals import Invalid, NotFound, Refused, WrongState
from thumbq_server.engine.outage import RateLimitedLog, Unavailable

log = structlog.get_logger()

Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")


class StreamEnded(Exception):
    """The stream ends with another status than OK. The text is for its client."""

    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code


_CODES: tuple[tuple[type[Refused], grpc.StatusCode], ...] = (
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (WrongState, grpc.StatusCode.FAILED_PRECONDITION),
)
_unavailable_log = RateLimitedLog("call.unavailable")


def status(error: Refused | Unavailable) -> tuple[grpc.StatusCode, str]:
    """Return the status that a caller gets for `error`."""
    if isinstance(error, Unavailable):
        _unavailable_log.warning(error)
        return grpc.StatusCode.UNAVAILABLE, DATABASE_AWAY
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    return grpc.StatusCode.FAILED_PRECONDITION, str(error)


def status_of_any(method: str, error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the status that a caller of `method` gets for whatever it raised.

    Anything but a refusal, or the end of a stream, is logged with a reference. The caller gets INTERNAL with that
    reference and nothing else.
    """
    if isinstance(error, Refused | Unavailable):
        return status(error)
    if isinstance(error, StreamEnded):
        return error.code, str(error)
    if isinstance(error, TooOften):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
    if isinstance(error, NotImplementedError):
        # grpc's own services raise it for a method that they only declare, such as Health/List.
        return grpc.StatusCode.UNIMPLEMENTED, f"{method} is not implemented"
    reference = uuid.uuid4().hex[:12]
    log.error("call.failed", method=method, reference=reference, exc_info=error)
    return grpc.StatusCode.INTERNAL, failure(reference)


def refusals_as_status(
    method: Callable[[Service, Request, Any], Awaitable[Response]],
) -> Callable[[Service, Request, Any], Awaitable[Response]]:
    """Make a unary method answer refusals with status codes."""

    @functools.wraps(method)
    async def call(self: Service, request: Request, context: Any) -> Response:
        try:
            return await method(self, request, context)
        except (Refused, Unavailable) as error:
            code, details = status(error)
            # abort raises what grpc's own handler takes; nothing after it runs.
            raise await context.abort(code, details) from error

    return call
