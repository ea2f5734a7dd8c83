"""API keys and roles as messages."""

from thumbq.v1 import admin_pb2
from thumbq_runtime.access.roles import KEY_ROLES, Role
from thumbq_server.domain.access.keys import KeyRecord
from thumbq_server.domain.refusals import Invalid
from thumbq_server.rpc.codec.times import optional_timestamp, timestamp

_MESSAGES = {role: admin_pb2.Role.Value(f"ROLE_{role.name}") for role in KEY_ROLES}
_ROLES = {message: role for role, message in _MESSAGES.items()}


def role(message: admin_pb2.Role.ValueType) -> Role:
    """Return the role of a request. Raises Invalid."""
    if message not in _ROLES:
        raise Invalid("role must be WORKER, PRODUCER, VIEWER or ADMIN")
    return _ROLES[message]


def role_message(known: Role | None) -> admin_pb2.Role.ValueType:
    """Return a role as a message, or UNSPECIFIED for None."""
    return _MESSAGES[known] if known else admin_pb2.ROLE_UNSPECIFIED


def key(record: KeyRecord) -> admin_pb2.ApiKey:
    """Return a key without its secret."""
    return admin_pb2.ApiKey(
        prefix=record.prefix,
        role=_MESSAGES[Role(record.role)],
        name=record.name,
        created_at=timestamp(record.created_at),
        expires_at=optional_timestamp(record.expires_at),
        last_used_at=optional_timestamp(record.last_used_at),
        revoked_at=optional_timestamp(record.revoked_at),
    )
