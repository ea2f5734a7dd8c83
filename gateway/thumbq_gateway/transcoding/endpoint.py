"""The handler of one JSON route: request to message, call, response to JSON."""

import time
from typing import Any

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal, refused_by_server
from thumbq_gateway.metrics import RequestMetrics
from thumbq_gateway.protojson.values import InvalidValue, scalar_reader
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL
from thumbq_gateway.transcoding.request_body import read_json
from thumbq_gateway.transcoding.routes import Route
from thumbq_gateway.transcoding.unary_call import UnaryCall


class Endpoint:
    """The handler of one route."""

    def __init__(self, route: Route, call: UnaryCall, batch_call: UnaryCall | None, metrics: RequestMetrics) -> None:
        """`batch_call` serves the bodies that the contract's clause calls a batch."""
        self._route = route
        self._clause = CLAUSES.get(route.name, GENERAL)
        self._call = call
        self._batch_call = batch_call
        self._path_readers = {
            name: scalar_reader(route.request_type.fields_by_name[name]) for name in route.path_fields
        }
        self._total = metrics.total
        self._seconds = metrics.seconds.labels(route.rpc.name)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request. The contract's clause decides on the form of a refusal."""
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
        self._total.labels(self._route.rpc.name, answer.status).inc()
        return answer

    def _path_values(self, request: web.Request) -> dict[str, Any]:
        try:
            return {name: read(request.match_info[name]) for name, read in self._path_readers.items() if read}
        except InvalidValue:  # the pattern admits whole numbers only, but this one is larger than any id
            raise web.HTTPNotFound from None

    async def _answer(self, request: web.Request, path_values: dict[str, Any]) -> web.Response:
        call = self._call
        if self._route.takes_body:
            body = await read_json(request, self._clause.body_limit)
            if self._batch_call and self._clause.batch and _has_field(body, self._clause.batch.field):
                call = self._batch_call
            values = call.decoder.fields(body)
        else:
            values = call.decoder.query(request.query.items())
        response = await call(values | path_values)
        return self._clause.answer(response, request) or call.printed(response)


def _has_field(body: object, field: str) -> bool:
    return isinstance(body, dict) and any(key.lower() == field and value is not None for key, value in body.items())
