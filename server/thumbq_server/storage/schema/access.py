"""API keys, the audit log, and the keys that sign tickets."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, LargeBinary, Table, Text

from thumbq_server.storage.schema.base import NOW, Timestamp, metadata

# API keys: the prefix is public, and the digest is the SHA-256 of the whole key.
keys = Table(
    "keys",
    metadata,
    Column("prefix", Text, primary_key=True),
    Column("digest", LargeBinary, CheckConstraint("octet_length(digest) = 32"), nullable=False),
    Column("role", Text, CheckConstraint("role IN ('worker', 'producer', 'viewer', 'admin')"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    Column("expires_at", Timestamp),
    Column("last_used_at", Timestamp),
    Column("revoked_at", Timestamp),
)

# The audit log. The row of an action begins as "begun", and is changed once when the action ends.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", Timestamp, server_default=NOW, nullable=False),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text, CheckConstraint("outcome IN ('begun', 'done', 'refused', 'failed')"), nullable=False),
    Column("detail", Text, nullable=False),
    Column("reference", Text, nullable=False),
)

# The keys that sign tickets of pages: Ed25519. Each is replaced after a day.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seed", LargeBinary, CheckConstraint("octet_length(seed) = 32"), nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
)
