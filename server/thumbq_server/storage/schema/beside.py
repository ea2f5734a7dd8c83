"""Tables beside the queue: versions of models, lines about jobs, files that have to go, and ends to be counted."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    LargeBinary,
    Sequence,
    Table,
    Text,
    text,
)

from thumbq_server.storage.schema.base import NOW, Timestamp, metadata

# Versions of models: which file each is. Its picture is the newest one of the job of that file.
model_versions = Table(
    "model_versions",
    metadata,
    Column("version_id", BigInteger, primary_key=True, autoincrement=False),
    Column("model_id", BigInteger, nullable=False),
    Column("model_hash", LargeBinary, nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    Index("model_versions_of_file", "model_id", "model_hash"),
)

# The ids of job_events, which a statement must know before it writes them.
job_event_seq = Sequence("job_event_seq", metadata=metadata)

# The log of each job, as its workers write it; the newest lines of each. A line without a key, where callers need one,
# takes no place of a line that came with one.
job_events = Table(
    "job_events",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", BigInteger, nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("metadata", Text),
    Column("error_message", Text),
    Column("with_key", Boolean, server_default=text("true"), nullable=False),
    Index("job_events_of_job", "job_id", "id"),
)

# How far jobs have come under a lease. Not worth WAL: after a crash it is empty until workers tell again.
job_progress = Table(
    "job_progress",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lease_seq", BigInteger, nullable=False),
    Column("fraction", Double, CheckConstraint("fraction BETWEEN 0 AND 1"), nullable=False),
    Column("message", Text, nullable=False),
    Column("reported_at", Timestamp, server_default=NOW, nullable=False),
    prefixes=["UNLOGGED"],
)

# The traces of jobs whose producers named one (docs/decisions/0049-traces.md).
job_traces = Table(
    "job_traces",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("traceparent", Text, nullable=False),
    # of the last attempt that failed, as its worker named it
    Column("earlier_attempt", Text),
)

# Files of pictures that no model and no version shows any more. A row goes after its file, so a crash leaves no file.
removals = Table(
    "removals",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("path", Text, nullable=False),
    # a file that has changed since is another picture
    Column("reported_at", Timestamp, nullable=False),
    Column("due_at", Timestamp, server_default=NOW, nullable=False),
)

# Ends that the log does not tell, or tells under another name. Only the figures of the last minutes read them
# (docs/decisions/0072-each-end-under-its-name.md).
other_ends = Table(
    "other_ends",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("ended_at", Timestamp, server_default=NOW, nullable=False),
    Column(
        "outcome",
        Text,
        CheckConstraint("outcome IN ('Completed', 'Failed', 'Expired', 'Cancelled', 'Released')"),
        nullable=False,
    ),
    Column("count", BigInteger, CheckConstraint("count > 0"), nullable=False),
    Index("other_ends_by_time", "ended_at"),
)
