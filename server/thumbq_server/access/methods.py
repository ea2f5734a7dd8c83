"""The methods of gRPC's services, and others in their place: what interceptors do to each of them."""

from typing import Any

import grpc

Handler = Any  # grpc.RpcMethodHandler, which is generic for the type checker only


def serve_of(handler: Any) -> Any:
    """Return the function that serves a method."""
    return getattr(handler, f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}")


def served_by(serve: Any, handler: Any) -> Handler:
    """Return the method of a handler with another function that serves it."""
    return _handler(serve, handler, handler.request_streaming, handler.request_deserializer)


def served_by_bytes(serve: Any, handler: Any) -> Handler:
    """Return the method of a handler with a function that takes a stream of bytes, and decodes them itself.

    A caller that sends one message is served as well: it is a stream of one.
    """
    return _handler(serve, handler, True, None)


def _handler(serve: Any, handler: Any, stream_in: bool, decode: Any) -> Handler:
    make = getattr(grpc, f"{_word(stream_in)}_{_word(handler.response_streaming)}_rpc_method_handler")
    made: Handler = make(serve, request_deserializer=decode, response_serializer=handler.response_serializer)
    return made


def _word(is_stream: bool) -> str:
    return "stream" if is_stream else "unary"
