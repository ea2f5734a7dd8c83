"""A client without any file of ours asks the server what it can do, in both versions of reflection."""

import pytest
from grpc_reflection.v1alpha import reflection_pb2


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_the_services_are_listed(channel, version):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {"thumbq.v1.QueueService", "grpc.health.v1.Health", f"grpc.reflection.{version}.ServerReflection"} <= names
    call.cancel()
