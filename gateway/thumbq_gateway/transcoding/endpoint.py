"""The handler of one JSON route: request to message, call, response to JSON."""

import asyncio
import time
from functools import cache, partial
from typing import Any

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.errors import HTTP_STATUS, Refusal, refused_by_server, status_of_unexpected
from thumbq_gateway.http.requests.tickets import check_models, check_sees_all, models_of
from thumbq_gateway.http.turns import Turns
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import RequestMetrics
from thumbq_gateway.protojson.values import InvalidValue, scalar_reader
from thumbq_gateway.transcoding.call_spans import HEADER
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL
from thumbq_gateway.transcoding.routes import Route
from thumbq_gateway.transcoding.unary_call import UnaryCall
from thumbq_runtime.limits.calls import POLLS

_LONG = 100  # entries of a list; a longer one takes its turn


class Endpoint:
    """The handler of one route."""

    def __init__(
        self,
        route: Route,
        bodies: Bodies,
        call: UnaryCall,
        batch_call: UnaryCall | None,
        limits: Calls,
        long_lists: Turns,
        metrics: RequestMetrics,
    ) -> None:
        """`batch_call` serves the bodies that the contract's clause calls a batch."""
        self._limits = limits
        self._long_lists = long_lists
        self._is_poll = route.rpc.name in POLLS
        self._bodies = bodies
        self._route = route
        self._clause = CLAUSES.get(route.name, GENERAL)
        self._call = call
        self._batch_call = batch_call
        self._path_readers = {
            name: scalar_reader(route.request_type.fields_by_name[name]) for name in route.path_fields
        }
        self._counted = cache(partial(metrics.total.labels, route.rpc.name))
        self._seconds = metrics.seconds.labels(route.rpc.name)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request. The contract's clause decides on the form of a refusal."""
        started = time.perf_counter()
        status = HTTP_STATUS[grpc.StatusCode.CANCELLED]  # the client hung up
        try:
            answer = await self._answered(request)
            status = answer.status
            return answer
        except Exception as error:
            status = status_of_unexpected(request, error)
            raise
        finally:
            self._seconds.observe(time.perf_counter() - started)
            self._counted(status).inc()

    async def _answered(self, request: web.Request) -> web.Response:
        try:
            return await self._answer(request, self._path_values(request))
        except InvalidValue as invalid:
            return self._clause.refuse(Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)))
        except Refusal as refusal:
            return self._clause.refuse(refusal)
        except grpc.aio.AioRpcError as error:
            return self._clause.refuse(refused_by_server(error))

    def _path_values(self, request: web.Request) -> dict[str, Any]:
        try:
            return {name: read(request.match_info[name]) for name, read in self._path_readers.items() if read}
        except InvalidValue:  # the pattern admits whole numbers only, but this one is larger than any id
            raise web.HTTPNotFound from None

    async def _answer(self, request: web.Request, path_values: dict[str, Any]) -> web.Response:
        if self._route.takes_body:
            call, values = await self._bodies.decoded(request, self._clause.body_limit, self._read_body)
        else:
            call, values = self._call, self._call.decoder.query(request.query.items())
        values |= path_values
        _check_ticket(request, values)
        if not call.wait(values):
            return await self._asked(request, call, values)
        with self._limits.wait(request, for_jobs=self._is_poll):
            return await self._asked(request, call, values)

    async def _asked(self, request: web.Request, call: UnaryCall, values: dict[str, Any]) -> web.Response:
        ask = partial(call, values, request.headers.get(HEADER, ""))
        if values.get("page_size", 0) > _LONG:
            async with self._long_lists.turn(self._limits.caller(request)):
                return await asyncio.to_thread(call.printed, await ask())
        if self._is_poll:
            response = await self._limits.poll(request, values.get("worker_id", ""), ask)
        else:
            response = await ask()
        return self._clause.answer(response, request) or call.printed(response)

    def _read_body(self, body: object) -> tuple[UnaryCall, dict[str, Any]]:
        """Return the call that the body is for, and its values. Raises InvalidValue."""
        is_batch = self._clause.batch and _has_field(body, self._clause.batch.field)
        call = self._batch_call if self._batch_call and is_batch else self._call
        return call, call.decoder.fields(body)


def _check_ticket(request: web.Request, values: dict[str, Any]) -> None:
    """Refuse what the ticket of a request is not for. Raises Refusal."""
    if models_of(request) is None:
        return
    if values.get("model_version_id"):
        check_sees_all(request)
    check_models(request, values.get("model_ids", ()))
    if "model_id" in values:
        check_models(request, [values["model_id"]])


def _has_field(body: object, field: str) -> bool:
    return isinstance(body, dict) and any(key.lower() == field and value is not None for key, value in body.items())
