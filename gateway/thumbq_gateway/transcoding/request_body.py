"""The JSON body of a request."""

import json
from typing import NoReturn

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.protojson.values import InvalidValue

MEBIBYTE = 1 << 20


async def read_json(request: web.Request, limit: int) -> object:
    """Parse the body; an empty one is an empty object. Raises Refusal and InvalidValue."""
    body = await _read_body(request, limit)
    try:
        text = body.decode("utf-8-sig")
        return _parse(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InvalidValue(problem) from None
    except UnicodeDecodeError:
        raise InvalidValue("is not valid UTF-8") from None
    except RecursionError:
        raise InvalidValue("is nested too deeply") from None
    except ValueError as error:
        raise InvalidValue(f"is not valid JSON: {error}") from None


async def _read_body(request: web.Request, limit: int) -> bytes:
    try:
        if (request.content_length or 0) <= limit and len(body := await request.read()) <= limit:
            return body
    except web.HTTPRequestEntityTooLarge:
        pass
    message = f"The request body is larger than {limit // MEBIBYTE} MiB."
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_parse = json.JSONDecoder(parse_constant=_refuse_constant).decode
