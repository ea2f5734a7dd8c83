"""One RPC with JSON on both sides, and the calls that wait."""

import asyncio
from contextlib import nullcontext
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from thumbq_gateway.http.bodies.body import MEBIBYTE
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.requests.caller import metadata_of_caller
from thumbq_gateway.metrics import RequestMetrics
from thumbq_gateway.protojson.decoder import decoder_of
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes
from thumbq_gateway.transcoding.call_spans import TRACED, CallSpans
from thumbq_gateway.transcoding.routes import Route
from thumbq_gateway.transcoding.together import TIMEOUT, Together

# Beside those of operators, the calls whose server asks who has made them.
_TOLD = {"CreateTicket", "DequeueJob", "DequeueJobs", "LogJobEvent"}
_LONGEST_WAIT = 30.0  # seconds, as in the protocol
_LARGEST_MESSAGE = 4 * MEBIBYTE  # that the server takes; options are larger in it than in JSON


class LongPolls:
    """The calls that wait for something to happen."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._count = metrics.long_polls
        self._calls: set[grpc.aio.UnaryUnaryCall[Any, Any]] = set()
        self._ended = False

    async def hold(self, call: grpc.aio.UnaryUnaryCall[Any, Any]) -> Any:
        """Return the call's response. Raises Refusal when `end` interrupts it."""
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
        """Cancel every call."""
        self._ended = True
        for call in self._calls:
            call.cancel()


class UnaryCall:
    """One RPC. Its request is made from JSON values, its response is printed as JSON."""

    def __init__(
        self,
        route: Route,
        channel: grpc.aio.Channel,
        long_polls: LongPolls,
        together: Together,
        wait_field: str | None = None,
        spans: CallSpans | None = None,
    ) -> None:
        """`wait_field` names the Duration that the caller is willing to wait; None: the RPC answers at once.

        Raises LookupError when the request has no such Duration.
        """
        if wait_field:
            field = route.request_type.fields_by_name.get(wait_field)
            if field is None or field.message_type != Duration.DESCRIPTOR:
                raise LookupError(f"{route.request_type.name} has no Duration {wait_field} to wait for.")
        self.decoder = decoder_of(route.request_type, route.path_fields)
        self._ask = channel.unary_unary(
            f"/{route.rpc.containing_service.full_name}/{route.rpc.name}",
            request_serializer=self.decoder.message_class.SerializeToString,
            response_deserializer=GetMessageClass(route.response_type).FromString,
        )
        self._long_polls = long_polls
        self._kind = together.kind_of(route.request_type)
        self._tells_caller = route.rpc.containing_service.name == "AdminService" or route.rpc.name in _TOLD
        self._wait_field = wait_field
        self._spans = spans if spans and issubclass(self.decoder.message_class, TRACED) else None
        self._response_field = route.response_field
        self._encode = encoder_of(route.shown_type)

    async def __call__(self, values: dict[str, Any], caller: str = "") -> Message:
        """Call the RPC, together with others of its kind if there is one. Raises AioRpcError and Refusal.

        `caller` is the span that the call belongs to.
        """
        request = self.decoder.message_class(**values)
        with self._spans.around(request, caller) if self._spans else nullcontext():
            return await self._call(request, self.wait(values))

    async def _call(self, request: Message, wait: float) -> Message:
        if request.ByteSize() > _LARGEST_MESSAGE:
            message = "The request is larger than 4 MiB as the server gets it. Send fewer jobs or results at once."
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)
        if self._kind and not wait:
            together: Message = await self._kind(request)
            return together
        metadata = metadata_of_caller() if self._tells_caller else None
        call = self._ask(request, timeout=TIMEOUT + max(0.0, min(wait, _LONGEST_WAIT)), metadata=metadata)
        answer: Message = await (self._long_polls.hold(call) if wait else call)
        return answer

    def printed(self, response: Message) -> web.Response:
        """Return the response as JSON."""
        shown = getattr(response, self._response_field) if self._response_field else response
        return web.Response(body=json_bytes(self._encode(shown)), content_type="application/json")

    def wait(self, values: dict[str, Any]) -> float:
        """Return how many seconds the caller is willing to wait."""
        if self._wait_field is None or self._wait_field not in values:
            return 0.0
        wait: Duration = values[self._wait_field]
        return wait.ToTimedelta().total_seconds()
