"""Refusals and failures as HTTP answers."""

from collections.abc import Awaitable, Callable, Mapping

import grpc
import structlog
from aiohttp import web

from thumbq_gateway.protojson.encoder import json_bytes

log = structlog.get_logger()

# google/rpc/code.proto says which HTTP status belongs to which code.
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_OWN_WORDS = {
    grpc.StatusCode.UNAVAILABLE: "The service is unavailable for the moment. Try again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The service did not answer in time.",
    grpc.StatusCode.UNIMPLEMENTED: "This version does not do that yet.",
    grpc.StatusCode.UNKNOWN: "Internal error.",
    grpc.StatusCode.INTERNAL: "Internal error.",
}
_TRY_AGAIN_SOON: Mapping[str, str] = {"Retry-After": "1"}
_NOTHING: Mapping[str, str] = {}


class Refusal(Exception):
    """A request that is answered with an error, without asking the server."""

    def __init__(self, code: grpc.StatusCode, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS[code]


def refused_by_server(error: grpc.RpcError) -> Refusal:
    """The server's error, without what only its operator should read."""
    assert isinstance(error, grpc.aio.AioRpcError)
    code = error.code()
    if code is grpc.StatusCode.CANCELLED:
        # our caller did not hang up, or nobody would read this: a server that stops cancels what it has not finished
        code = grpc.StatusCode.UNAVAILABLE
    return Refusal(code, _OWN_WORDS.get(code) or error.details() or code.value[1])


def retry_headers(http_status: int) -> Mapping[str, str]:
    """When a later attempt may succeed, the time after which to make it."""
    return _TRY_AGAIN_SOON if http_status in {429, 503} else _NOTHING


def status_response(refusal: Refusal) -> web.Response:
    """The error as google.rpc.Status in JSON."""
    number, _ = refusal.code.value
    status = {"code": number, "message": refusal.message, "status": refusal.code.name}
    return web.Response(
        body=json_bytes(status),
        status=refusal.http_status,
        headers=retry_headers(refusal.http_status),
        content_type="application/json",
    )


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What a handler raises, as an answer; the unforeseen is logged, and not shown."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return status_response(refusal)
    except grpc.aio.AioRpcError as error:
        return status_response(refused_by_server(error))
    except web.HTTPMethodNotAllowed as error:
        methods = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method} is not allowed here, only {methods}."
        response = status_response(Refusal(grpc.StatusCode.UNIMPLEMENTED, message, http_status=405))
        response.headers["Allow"] = methods
        return response
    except web.HTTPNotFound:
        return status_response(Refusal(grpc.StatusCode.NOT_FOUND, f"There is no {request.path}."))
    except web.HTTPException:
        raise
    except Exception:
        log.exception("request.broken", method=request.method, path=request.path)
        return status_response(Refusal(grpc.StatusCode.INTERNAL, "Internal error."))
