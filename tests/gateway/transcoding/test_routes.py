"""The route table from the protocol's annotations, and the rules that it refuses."""

import itertools
import re
from pathlib import Path

import grpc
import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL
from thumbq_gateway.transcoding.routes import BadRule, routes_of
from thumbq_gateway.transcoding.together import Together
from thumbq_gateway.transcoding.unary_call import LongPolls, UnaryCall

FIELDS = {
    "job_id": FieldDescriptorProto.TYPE_INT64,
    "name": FieldDescriptorProto.TYPE_STRING,
    "ratio": FieldDescriptorProto.TYPE_DOUBLE,
}


def service(*rules: http_pb2.HttpRule, streaming: bool = False) -> ServiceDescriptor:
    """Make a service with one method for each rule. All take and return a Thing."""
    file = descriptor_pb2.FileDescriptorProto(name="things.proto", package="things", syntax="proto3")
    thing = file.message_type.add(name="Thing")
    for number, (name, kind) in enumerate(FIELDS.items(), start=1):
        thing.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    thing.field.add(
        name="list", number=9, type=FieldDescriptorProto.TYPE_INT32, label=FieldDescriptorProto.LABEL_REPEATED
    )
    methods = file.service.add(name="ThingService")
    for number, rule in zip(itertools.count(1), rules, strict=False):
        method = methods.method.add(
            name=f"Do{number}", input_type=".things.Thing", output_type=".things.Thing", server_streaming=streaming
        )
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("things.ThingService")


# What only the gateway calls, what has a plain form beside it, and what makes keys: `thumbq keys` does it over gRPC.
WITHOUT_ROUTE = {
    "thumbq.v1.QueueService.CallTogether",
    "thumbq.v1.QueueService.EnqueueColumns",
    *(f"thumbq.v1.AdminService.{name}" for name in ("CreateKey", "ListKeys", "RevokeKey", "CheckKeys")),
}
MODULES = (queue_pb2, notification_pb2, admin_pb2)
SERVICES = [found for module in MODULES for found in module.DESCRIPTOR.services_by_name.values()]


def test_the_page_on_routes_names_every_rpc_that_has_none() -> None:
    page = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    chapter = page.split("## JSON routes\n")[1].split("\n|")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", chapter)) == {name.rpartition(".")[2] for name in WITHOUT_ROUTE}


def test_every_unary_rpc_has_its_route() -> None:
    unary = {
        method.full_name
        for found in SERVICES
        for method in found.methods
        if not method.client_streaming and not method.server_streaming
    }
    # HTTP has its own ways to send requests together.
    assert routes_of(SERVICES).keys() == unary - WITHOUT_ROUTE


def test_the_contract_names_every_rpc_that_can_wait() -> None:
    for name, (route, *_) in routes_of(SERVICES).items():
        wait_field = "wait" if "wait" in route.request_type.fields_by_name else None
        assert CLAUSES.get(name, GENERAL).wait_field == wait_field, name


@pytest.mark.parametrize("wait_field", ["no_field", "worker_id"])
async def test_an_rpc_cannot_wait_for_a_field_that_is_no_duration(wait_field: str) -> None:
    (route,) = routes_of(SERVICES)["thumbq.v1.QueueService.DequeueJob"]
    metrics = Metrics().requests
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(LookupError, match=f"DequeueJobRequest has no Duration {wait_field}"):
            UnaryCall(route, channel, LongPolls(metrics), Together(channel, metrics), wait_field)


def test_a_rule_becomes_a_method_a_path_and_the_fields_in_it() -> None:
    rule = http_pb2.HttpRule(post="/things/{job_id}/of/{name}", body="*")
    (route,) = routes_of([service(rule)])["things.ThingService.Do1"]
    assert (route.http_method, route.pattern) == ("POST", "/things/{job_id:-?[0-9]+}/of/{name}")
    assert route.path_fields == {"job_id", "name"}
    assert route.takes_body


def test_an_rpc_may_have_several_routes() -> None:
    rule = http_pb2.HttpRule(get="/a", additional_bindings=[http_pb2.HttpRule(post="/b", body="*")])
    routes = routes_of([service(rule)])["things.ThingService.Do1"]
    assert [(route.http_method, route.path) for route in routes] == [("GET", "/a"), ("POST", "/b")]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (http_pb2.HttpRule(get="/things/{colour}"), "Thing has no field colour"),
        (http_pb2.HttpRule(get="/things/{ratio}"), "ratio is neither a number nor a string"),
        (http_pb2.HttpRule(get="/things/{list}"), "list is neither a number nor a string"),
        (http_pb2.HttpRule(get="/things/{name=things/*}"), 'the pattern "/things/{name=things/*}" is not supported'),
        (http_pb2.HttpRule(get="/things/{job_id}:cancel"), 'the pattern "/things/{job_id}:cancel" is not supported'),
        (http_pb2.HttpRule(get="/things/**"), 'the pattern "/things/**" is not supported'),
        (http_pb2.HttpRule(get="things"), 'the pattern "things" is not supported'),
        (http_pb2.HttpRule(get="/things/{name}/{name}"), "names a field twice"),
        (http_pb2.HttpRule(post="/things", body="name"), 'body "name" is not supported'),
        (http_pb2.HttpRule(get="/things", body="*"), "get takes no body"),
        (http_pb2.HttpRule(get="/things", response_body="colour"), "no message colour"),
        (http_pb2.HttpRule(get="/things", response_body="name"), "no message name"),
        (http_pb2.HttpRule(custom=http_pb2.CustomHttpPattern(kind="LOOK", path="/things")), "must be one of get"),
        (http_pb2.HttpRule(body="*"), "the rule must be one of get, put, post, delete and patch"),
    ],
)
def test_a_rule_that_cannot_be_served_is_refused_with_its_method(rule: http_pb2.HttpRule, problem: str) -> None:
    with pytest.raises(BadRule, match=r"things\.ThingService\.Do1: ") as refused:
        routes_of([service(rule)])
    assert problem in str(refused.value)


def test_two_rpcs_cannot_share_a_route_whatever_its_parameters_are_called() -> None:
    rules = http_pb2.HttpRule(get="/things/{job_id}"), http_pb2.HttpRule(get="/things/{name}")
    with pytest.raises(BadRule, match=r"GET /things/\{name\} is already things\.ThingService\.Do1"):
        routes_of([service(*rules)])


def test_a_stream_has_no_route() -> None:
    with pytest.raises(BadRule, match="a stream has no JSON route"):
        routes_of([service(http_pb2.HttpRule(get="/things"), streaming=True)])
