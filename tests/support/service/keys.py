"""API keys for tests: how they are made, and what a channel or a request needs to show one."""

import secrets
from typing import Any

import grpc

from thumbq.keyed_channel import KeyedChannel
from thumbq.v1 import admin_pb2
from thumbq.v1.admin_pb2_grpc import AdminServiceStub

GATEWAY_SECRET = secrets.token_hex(32)


def keyed(address: str, key: str) -> grpc.aio.Channel:
    """A channel whose calls show a key."""
    return KeyedChannel(grpc.aio.insecure_channel(address), key)


async def make_key(channel: grpc.aio.Channel, role: str, **fields: Any) -> str:
    """A new key. The first of a queue is an admin's, and closes the queue to callers without one."""
    message = admin_pb2.Role.Value(f"ROLE_{role.upper()}")
    request = admin_pb2.CreateKeyRequest(role=message, name=f"{role} of a test", **fields)
    return (await AdminServiceStub(channel).CreateKey(request)).secret


async def revoke(channel: grpc.aio.Channel, key: str) -> None:
    """End a key."""
    await AdminServiceStub(channel).RevokeKey(admin_pb2.RevokeKeyRequest(prefix=prefix_of(key)))


def prefix_of(key: str) -> str:
    """The part of a key that is no secret."""
    return key.split("_")[1]


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}
