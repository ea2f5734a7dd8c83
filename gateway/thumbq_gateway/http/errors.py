"""Refusals and failures as HTTP responses."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.protojson.encoder import json_bytes
from thumbq_gateway.protojson.values import InvalidValue
from thumbq_runtime.outage import reference_in

log = LimitedLog()

# The mapping of google/rpc/code.proto.
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
# These replace the messages of the server, which only its operator should read.
_MESSAGES = {
    grpc.StatusCode.UNAVAILABLE: "The service is unavailable for the moment. Try again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The service did not answer in time.",
    grpc.StatusCode.UNIMPLEMENTED: "This version does not do that yet.",
}
# Errors that the server did not intend. Their details are for the operator.
_UNEXPECTED = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
_LONGEST_PATH = 200  # characters of a path or a method in an error or a log
_NOTHING: Mapping[str, str] = {}


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, code: grpc.StatusCode, message: str, http_status: int | None = None, retry_after: int = 1
    ) -> None:
        """`retry_after`: seconds after which the same request may succeed, if it ever may."""
        super().__init__(message)
        self.retry_after = retry_after
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS[code]

    def __copy__(self) -> "Refusal":
        """Return one for another caller. Exceptions copy themselves from their text alone."""
        return Refusal(self.code, self.message, self.http_status, self.retry_after)


def refused_by_server(error: grpc.RpcError) -> Refusal:
    """Return the server's error as a refusal, without details that are meant for the operator."""
    assert isinstance(error, grpc.aio.AioRpcError)
    return refused(error.code(), error.details() or "", _seconds_told(error))


def _seconds_told(error: grpc.aio.AioRpcError) -> int:
    """Return the seconds after which the server allows another attempt."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return max(1, info.retry_delay.seconds)
    return 1


def refused(code: grpc.StatusCode, details: str, retry_after: int = 1) -> Refusal:
    """Return the status that a call has ended with as a refusal."""
    if code is grpc.StatusCode.CANCELLED:
        # Our caller is still there, so the server has cancelled the call: it is stopping.
        code = grpc.StatusCode.UNAVAILABLE
    if code in _UNEXPECTED:
        return _internal(reference_in(details) or _logged(rpc_code=code.name, rpc_details=details))
    return Refusal(code, _MESSAGES.get(code) or details or code.value[1], retry_after=retry_after)


def _internal(reference: str) -> Refusal:
    return Refusal(grpc.StatusCode.INTERNAL, f"Internal error. Its reference in the log is {reference}.")


def _logged(**fields: object) -> str:
    """Log the present exception. Returns the reference of its line."""
    reference = secrets.token_hex(4)
    log.failure("request.broken", reference=reference, **fields)
    return reference


def _is_gone(request: web.Request) -> bool:
    """Return whether the client has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def retry_headers(refusal: Refusal) -> Mapping[str, str]:
    """Return a Retry-After header if a later attempt may succeed."""
    return {"Retry-After": str(refusal.retry_after)} if refusal.http_status in {429, 503} else _NOTHING


def status_response(refusal: Refusal) -> web.Response:
    """Return the error as google.rpc.Status in JSON."""
    number, _ = refusal.code.value
    status = {"code": number, "message": refusal.message, "status": refusal.code.name}
    return web.Response(
        body=json_bytes(status),
        status=refusal.http_status,
        headers=retry_headers(refusal),
        content_type="application/json",
    )


def status_of_unexpected(request: web.Request, error: Exception) -> int:
    """Return the status with which `answer_errors` answers an exception that is no refusal."""
    if isinstance(error, web.HTTPException):
        return error.status
    if isinstance(error, web.RequestPayloadError):
        return HTTP_STATUS[grpc.StatusCode.INVALID_ARGUMENT]
    is_unread = isinstance(error, ConnectionError) and _is_gone(request)
    return HTTP_STATUS[grpc.StatusCode.CANCELLED if is_unread else grpc.StatusCode.INTERNAL]


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn each exception of a handler into a response. Unexpected ones are logged and not shown."""
    try:
        return await handler(request)
    except Refusal as refused:
        refusal = refused
    except grpc.aio.AioRpcError as error:
        refusal = refused_by_server(error)
    except InvalidValue as invalid:
        refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid))
    except web.RequestPayloadError:
        refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The request body cannot be decoded.")
    except web.HTTPMethodNotAllowed as error:
        methods = ", ".join(sorted(error.allowed_methods))
        message = f"{_printable(request.method)} is not allowed here, only {methods}."
        response = status_response(Refusal(grpc.StatusCode.UNIMPLEMENTED, message, http_status=405))
        response.headers["Allow"] = methods
        return response
    except web.HTTPNotFound:
        refusal = Refusal(grpc.StatusCode.NOT_FOUND, f"There is no {_printable(request.path)}.")
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  # it is logged
        if isinstance(error, ConnectionError) and _is_gone(request):
            return web.Response()  # nobody reads it
        refusal = _internal(_logged(method=_printable(request.method), path=_printable(request.path)))
    return status_response(refusal)


def _printable(text: str) -> str:
    """Return a path or a method as UTF-8 can encode it, and not longer than a reader needs."""
    return text[:_LONGEST_PATH].encode(errors="backslashreplace").decode()
