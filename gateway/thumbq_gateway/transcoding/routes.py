"""The route table, read from the google.api.http annotations of the services."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}")
_PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_WHOLE_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


class BadRule(ValueError):
    """An annotation that cannot be served. The message names it and the reason."""

    def __init__(self, method: MethodDescriptor, problem: str) -> None:
        super().__init__(f"{method.full_name}: {problem}")


@dataclass(frozen=True)
class Route:
    """One HTTP method and path for one RPC."""

    http_method: str
    path: str
    rpc: MethodDescriptor
    path_fields: frozenset[str]
    takes_body: bool
    response_field: str | None

    @property
    def name(self) -> str:
        """The full name of the RPC, such as "thumbq.v1.QueueService.GetJob"."""
        return str(self.rpc.full_name)

    @property
    def request_type(self) -> Descriptor:
        """The message that the RPC takes."""
        return self.rpc.input_type

    @property
    def response_type(self) -> Descriptor:
        """The message that the RPC returns."""
        return self.rpc.output_type

    @property
    def shown_type(self) -> Descriptor:
        """The message that the HTTP answer prints: the response, or the message in it that the rule names."""
        if self.response_field is None:
            return self.response_type
        shown = self.response_type.fields_by_name[self.response_field].message_type
        assert shown is not None
        return shown

    @property
    def shape(self) -> tuple[str, str]:
        """Method and path without the names of the parameters. Two routes must not have the same shape."""
        return self.http_method, _PARAMETER.sub("{}", self.path)

    @property
    def pattern(self) -> str:
        """The path in aiohttp's syntax. A number matches digits only, so that other segments lead to 404."""

        def parameter(match: re.Match[str]) -> str:
            field = self.request_type.fields_by_name[match[1]]
            return f"{{{match[1]}:-?[0-9]+}}" if field.cpp_type in _WHOLE_NUMBERS else match[0]

        return _PARAMETER.sub(parameter, self.path)


Table: TypeAlias = Mapping[str, Sequence[Route]]  # by the full name of the RPC


def routes_of(services: Iterable[ServiceDescriptor]) -> Table:
    """Read the routes of every annotated RPC. Raises BadRule."""
    table: dict[str, list[Route]] = {}
    seen: dict[tuple[str, str], Route] = {}
    for service in services:
        for method in service.methods:
            for rule in _rules(method):
                route = _route(method, rule)
                if other := seen.get(route.shape):
                    raise BadRule(method, f"{route.http_method} {route.path} is already {other.name}.")
                seen[route.shape] = route
                table.setdefault(route.name, []).append(route)
    return table


def _rules(method: MethodDescriptor) -> Iterator[http_pb2.HttpRule]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    if method.client_streaming or method.server_streaming:
        raise BadRule(method, "a stream has no JSON route.")
    rule = options.Extensions[annotations_pb2.http]
    yield rule
    yield from rule.additional_bindings


def _route(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Route:
    verb = rule.WhichOneof("pattern")
    if verb is None or verb == "custom":
        raise BadRule(method, "the rule must be one of get, put, post, delete and patch.")
    if rule.body not in {"", "*"}:
        raise BadRule(method, f'body "{rule.body}" is not supported; only "*" is.')
    if rule.body and verb in {"get", "delete"}:
        raise BadRule(method, f"{verb} takes no body.")
    path = getattr(rule, verb)
    return Route(
        http_method=verb.upper(),
        path=path,
        rpc=method,
        path_fields=frozenset(_path_fields(method, path)),
        takes_body=bool(rule.body),
        response_field=_response_field(method, rule.response_body),
    )


def _path_fields(method: MethodDescriptor, path: str) -> list[str]:
    segments = path.removeprefix("/").split("/")
    if not path.startswith("/") or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadRule(method, f'the pattern "{path}" is not supported; only words and {{field}} are.')
    names = _PARAMETER.findall(path)
    if len(set(names)) < len(names):
        raise BadRule(method, f'the pattern "{path}" names a field twice.')
    for name in names:
        field = method.input_type.fields_by_name.get(name)
        if field is None:
            raise BadRule(method, f"{method.input_type.name} has no field {name}.")
        if field.is_repeated or (field.cpp_type not in _WHOLE_NUMBERS and field.type != FieldDescriptor.TYPE_STRING):
            raise BadRule(method, f"{name} is neither a number nor a string, so it cannot stand in a path.")
    return names


def _response_field(method: MethodDescriptor, name: str) -> str | None:
    if not name:
        return None
    field = method.output_type.fields_by_name.get(name)
    if field is None or field.message_type is None or field.is_repeated:
        raise BadRule(method, f"{method.output_type.name} has no message {name} to answer with.")
    return name
