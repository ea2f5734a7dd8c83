"""What goes wrong, in the words of gRPC."""

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import structlog

from thumbq_server.domain.refusals import Invalid, NotFound, Refused, WrongState
from thumbq_server.storage.postgres.errors import Unavailable

log = structlog.get_logger()

Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")

_COMPLAIN_SECONDS = 10.0
_complained: dict[str, float] = {}

AWAY = "The queue's database is away; try again shortly."

_CODES: dict[type[Exception], grpc.StatusCode] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    WrongState: grpc.StatusCode.FAILED_PRECONDITION,
}


def status(error: Refused | Unavailable) -> tuple[grpc.StatusCode, str]:
    """The status that a caller gets for `error`."""
    if isinstance(error, Unavailable):
        complain("call.unavailable", error)
        return grpc.StatusCode.UNAVAILABLE, AWAY
    return _CODES[type(error)], str(error)


def complain(event: str, error: Unavailable) -> None:
    """Log that a call could not be served; now and then, since in an outage every call has the same to tell."""
    now = time.monotonic()
    if now - _complained.get(event, -_COMPLAIN_SECONDS) >= _COMPLAIN_SECONDS:
        _complained[event] = now
        log.warning(event, error=str(error))


async def later(_service: object, _request: object, context: Any) -> None:
    """A method that the protocol has and this version does not."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "This version of thumbq does not do that yet.")


def translated(
    method: Callable[[Service, Request, Any], Awaitable[Response]],
) -> Callable[[Service, Request, Any], Awaitable[Response]]:
    """A unary method whose refusals become status codes."""

    @functools.wraps(method)
    async def call(self: Service, request: Request, context: Any) -> Response:
        try:
            return await method(self, request, context)
        except (Refused, Unavailable) as error:
            code, details = status(error)
            # raised to the generic handler of grpc; nothing after this runs
            raise await context.abort(code, details) from error

    return call
