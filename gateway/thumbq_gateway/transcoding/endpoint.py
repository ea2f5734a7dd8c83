"""HTTP to gRPC and back: a request becomes a message, the RPC is called, its answer becomes JSON."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import grpc
from aiohttp import web
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from thumbq_gateway.http.errors import Refusal, refused_by_server
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.protojson.decoder import decoder_of
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes
from thumbq_gateway.protojson.values import InvalidValue, scalar_reader
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL, MEBIBYTE, other_paths
from thumbq_gateway.transcoding.routes import Route

Table: TypeAlias = Mapping[str, Sequence[Route]]

LARGEST_BODY = max(clause.body_limit for clause in CLAUSES.values())
_DEADLINE = 10.0  # seconds, on top of what the caller is willing to wait
_LONGEST_WAIT = 30.0  # seconds, as the protocol says


class Transcoder:
    """The HTTP handlers of a route table, over one channel."""

    def __init__(self, table: Table, channel: grpc.aio.Channel, metrics: Metrics) -> None:
        """Raises LookupError when the contract names an RPC that has no route."""
        for name in CLAUSES.keys() - table.keys():
            raise LookupError(f"The contract names {name}, which has no route.")
        self._table = table
        self._channel = channel
        self._metrics = metrics
        self._long_polls = LongPolls(metrics)

    def endpoints(self) -> list[web.RouteDef]:
        """One aiohttp route for each of the table."""
        return [
            web.route(route.http_method, pattern, endpoint.handle)
            for routes in self._table.values()
            for route in routes
            for endpoint in [self._endpoint(route)]
            for pattern in (route.pattern, *other_paths(route.pattern))
        ]

    def end_long_polls(self) -> None:
        """Answers those who wait for a job with 503, so that they ask another gateway."""
        self._long_polls.end()

    def _endpoint(self, route: Route) -> "Endpoint":
        batch = CLAUSES.get(route.name, GENERAL).batch
        batch_call = self._call(self._table[batch[1]][0]) if batch else None
        return Endpoint(route, self._call(route), batch_call, self._metrics)

    def _call(self, route: Route) -> "UnaryCall":
        return UnaryCall(route, self._channel, self._long_polls)


class Endpoint:
    """The handler of one route."""

    def __init__(self, route: Route, call: "UnaryCall", batch_call: "UnaryCall | None", metrics: Metrics) -> None:
        self._route = route
        self._clause = CLAUSES.get(route.name, GENERAL)
        self._call = call
        self._batch_call = batch_call
        self._path_readers = {
            name: scalar_reader(route.request_type.fields_by_name[name]) for name in route.path_fields
        }
        self._requests = metrics.requests
        self._seconds = metrics.request_seconds.labels(route.rpc.name)

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one request; every refusal in the words that the contract has for this route."""
        started = time.perf_counter()
        try:
            path_values = self._path_values(request)
            answer = await self._answer(request, path_values)
        except InvalidValue as invalid:
            answer = self._clause.refuse(Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)))
        except Refusal as refusal:
            answer = self._clause.refuse(refusal)
        except grpc.aio.AioRpcError as error:
            answer = self._clause.refuse(refused_by_server(error))
        self._seconds.observe(time.perf_counter() - started)
        self._requests.labels(self._route.rpc.name, answer.status).inc()
        return answer

    def _path_values(self, request: web.Request) -> dict[str, Any]:
        try:
            return {name: read(request.match_info[name]) for name, read in self._path_readers.items() if read}
        except InvalidValue:  # a whole number, but larger than any id
            raise web.HTTPNotFound from None

    async def _answer(self, request: web.Request, path_values: dict[str, Any]) -> web.Response:
        call = self._call
        if self._route.takes_body:
            body = await read_json(request, self._clause.body_limit)
            if self._batch_call and self._clause.batch and _names(body, self._clause.batch[0]):
                call = self._batch_call
            values = call.decoder.fields(body)
        else:
            values = call.decoder.query(request.query.items())
        response = await call(values | path_values)
        return self._clause.answer(response, request) or call.printed(response)


class UnaryCall:
    """One RPC, with the JSON on both of its sides."""

    def __init__(self, route: Route, channel: grpc.aio.Channel, long_polls: "LongPolls") -> None:
        self.decoder = decoder_of(route.request_type, route.path_fields)
        self._ask = channel.unary_unary(
            f"/{route.rpc.containing_service.full_name}/{route.rpc.name}",
            request_serializer=self.decoder.message_class.SerializeToString,
            response_deserializer=GetMessageClass(route.response_type).FromString,
        )
        self._long_polls = long_polls
        self._response_field = route.response_field
        self._encode = encoder_of(route.shown_type)

    async def __call__(self, values: dict[str, Any]) -> Message:
        """The RPC's answer. Raises AioRpcError."""
        wait = values["wait"].ToTimedelta().total_seconds() if "wait" in values else 0.0
        call = self._ask(self.decoder.message_class(**values), timeout=_DEADLINE + max(0.0, min(wait, _LONGEST_WAIT)))
        answer: Message = await (self._long_polls.hold(call) if wait else call)
        return answer

    def printed(self, response: Message) -> web.Response:
        """The answer as JSON."""
        shown = getattr(response, self._response_field) if self._response_field else response
        return web.Response(body=json_bytes(self._encode(shown)), content_type="application/json")


class LongPolls:
    """The calls that wait for something to happen."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.long_polls
        self._calls: set[grpc.aio.UnaryUnaryCall[Any, Any]] = set()
        self._ended = False

    async def hold(self, call: grpc.aio.UnaryUnaryCall[Any, Any]) -> Any:
        """Its answer. Raises Refusal when all long polls are ended meanwhile."""
        self._calls.add(call)
        self._count.inc()
        try:
            return await call
        except asyncio.CancelledError:
            if self._ended:
                raise Refusal(grpc.StatusCode.UNAVAILABLE, "The gateway is stopping. Try again.") from None
            raise
        finally:
            self._calls.discard(call)
            self._count.dec()

    def end(self) -> None:
        """Cancels them all."""
        self._ended = True
        for call in self._calls:
            call.cancel()


async def read_json(request: web.Request, limit: int) -> object:
    """The parsed body; nothing at all is an empty object. Raises Refusal and InvalidValue."""
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


def _names(body: object, field: str) -> bool:
    return isinstance(body, dict) and any(key.lower() == field and value is not None for key, value in body.items())


_parse = json.JSONDecoder(parse_constant=_refuse_constant).decode
