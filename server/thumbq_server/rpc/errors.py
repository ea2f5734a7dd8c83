"""What goes wrong, in the words of gRPC."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from thumbq_server.domain.refusals import Invalid, NotFound, Refused, WrongState
from thumbq_server.engine.outage import RateLimitedLog, Unavailable

Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")

AWAY = "The queue's database is away; try again shortly."

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
        return grpc.StatusCode.UNAVAILABLE, AWAY
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    return grpc.StatusCode.FAILED_PRECONDITION, str(error)


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
