"""The one description of the tables, as SQLAlchemy metadata. A test proves that the migrations produce exactly this.

Live state is kept in narrow tables, the record in `jobs` (docs/decisions/0002-narrow-tables.md). A job stands in
exactly one place: in `ready` (Pending), in `leases` (Processing), or it has an outcome in `jobs`. There are no foreign
keys from the narrow tables: a check per row costs more than the rest of the row.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from thumbq_server.storage.views import JOB_STATES

metadata = MetaData()

Timestamp = DateTime(timezone=True)
NOW = text("now()")

# Every enqueue and reset takes a number; the thumbnail of a model follows the highest: the newest request wins.
request_seq = Sequence("request_seq", metadata=metadata)

# No index here names anything that a transition changes: updates stay HOT.
jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("model_id", BigInteger, CheckConstraint("model_id > 0"), nullable=False),
    Column("model_hash", LargeBinary, CheckConstraint("octet_length(model_hash) = 32"), nullable=False),
    Column("request_no", BigInteger, server_default=text("nextval('request_seq'::regclass)"), nullable=False),
    Column("priority", SmallInteger, CheckConstraint("priority BETWEEN 0 AND 9"), nullable=False),
    Column("max_attempts", SmallInteger, CheckConstraint("max_attempts BETWEEN 1 AND 10"), nullable=False),
    # attempt_count and lease_seq are as of the last end of an attempt; live values are in ready and leases
    Column("attempt_count", SmallInteger, server_default=text("0"), nullable=False),
    Column("lease_seq", Integer, server_default=text("0"), nullable=False),
    Column("outcome", Text, CheckConstraint("outcome IN ('Completed', 'Failed', 'Cancelled')")),
    Column("error_message", Text),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    # when the first attempt was due: later than created_at for an enqueue with a delay
    Column("due_at", Timestamp, server_default=NOW, nullable=False),
    Column("updated_at", Timestamp, server_default=NOW, nullable=False),
    Column("finished_at", Timestamp),
    CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)"),
    UniqueConstraint("model_id", "model_hash"),
    postgresql_with={"fillfactor": 50},
)

# Pending jobs. A claim scans this and nothing else.
ready = Table(
    "ready",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    # run_at less a minute for each step of priority: one index serves priority and ageing
    Column("rank", Timestamp, nullable=False),
    Column("run_at", Timestamp, nullable=False),
    Column("attempt", SmallInteger, CheckConstraint("attempt >= 0"), nullable=False),
    Column("lease_seq", Integer, CheckConstraint("lease_seq >= 0"), nullable=False),
    Index("ready_claim", "rank", "job_id"),
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_cost_delay": 0},
)

# Processing jobs. lease_seq is the fence: it only ever grows, and a result must name it.
leases = Table(
    "leases",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lease_seq", Integer, CheckConstraint("lease_seq > 0"), nullable=False),
    Column("worker", BigInteger, nullable=False),
    Column("attempt", SmallInteger, CheckConstraint("attempt > 0"), nullable=False),
    Column("rank", Timestamp, nullable=False),
    Column("run_at", Timestamp, nullable=False),
    Column("claimed_at", Timestamp, nullable=False),
    # not indexed, so that extensions stay HOT: the table is as small as the number of jobs in flight
    Column("expires_at", Timestamp, nullable=False),
    # the claim that it came from: a claim that broke off before its answer is found again by this
    Column("claim_id", BigInteger, server_default=text("0"), nullable=False),
    # set by an enqueue with force: the job runs again when this attempt has ended
    Column("rerun_request_no", BigInteger),
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_cost_delay": 0},
)

# Jobs that ended without a picture.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("status", Text, CheckConstraint("status IN ('Failed', 'Cancelled')"), nullable=False),
    Column("ended_at", Timestamp, server_default=NOW, nullable=False),
)

# The sessions that claim: of a streaming worker, or of a worker of unary calls (session '').
workers = Table(
    "workers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("worker_id", Text, nullable=False),
    Column("session_id", Text, server_default=text("''"), nullable=False),
    Column("version", Text, server_default=text("''"), nullable=False),
    Column("labels", JSONB, server_default=text("'{}'"), nullable=False),
    Column("first_seen_at", Timestamp, server_default=NOW, nullable=False),
    Column("last_seen_at", Timestamp, server_default=NOW, nullable=False),
    UniqueConstraint("worker_id", "session_id"),
)

# The outcome of the newest request of each model. path and what belongs to it stay when a re-render fails.
thumbnails = Table(
    "thumbnails",
    metadata,
    Column("model_id", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", BigInteger, nullable=False),
    Column("request_no", BigInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("status", Text, CheckConstraint("status IN ('Ready', 'Failed')"), nullable=False),
    Column("error_message", Text),
    Column("next_attempt_at", Timestamp),
    Column("path", Text),
    Column("size_bytes", BigInteger, CheckConstraint("size_bytes >= 0")),
    Column("width", Integer, CheckConstraint("width > 0")),
    Column("height", Integer, CheckConstraint("height > 0")),
    Column("model_hash", LargeBinary),
    # when it was first asked for
    Column("created_at", Timestamp, nullable=False),
    Column("processed_at", Timestamp, server_default=NOW, nullable=False),
    CheckConstraint("status <> 'Ready' OR path IS NOT NULL"),
    CheckConstraint("(status = 'Failed') = (error_message IS NOT NULL)"),
    postgresql_with={"fillfactor": 70},
)

# One row. Each announcement moves seq, and holds the row until its commit: so the log is contiguous and in commit
# order, and a reader of seq > cursor has no hole to fear.
queue_head = Table(
    "queue_head",
    metadata,
    Column("only_row", Boolean, CheckConstraint("only_row"), server_default=text("true"), primary_key=True),
    Column(
        "epoch",
        Text,
        server_default=text("substr(md5(random()::text || clock_timestamp()::text), 1, 8)"),
        nullable=False,
    ),
    Column("seq", BigInteger, CheckConstraint("seq >= 0"), server_default=text("0"), nullable=False),
    # jobs that are Completed: counting them would read the whole of jobs
    Column("completed", BigInteger, CheckConstraint("completed >= 0"), server_default=text("0"), nullable=False),
    # raised by every server all the time, and where the table was then: a restored one is behind, or elsewhere
    Column("beat", BigInteger, server_default=text("0"), nullable=False),
    Column("identity", Text),
    postgresql_with={"fillfactor": 10},
)

# One row a commit, its notifications side by side in arrays. Compressing numbers costs more time than it saves room, so
# their arrays are stored EXTERNAL.
notifications = Table(
    "notifications",
    metadata,
    Column("seq_last", BigInteger, primary_key=True, autoincrement=False),
    Column("seq_first", BigInteger, nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    Column(
        "status",
        Text,
        CheckConstraint("status IN ('None', 'Pending', 'Processing', 'Ready', 'Failed')"),
        nullable=False,
    ),
    Column("test", Boolean, server_default=text("false"), nullable=False),
    Column("model_ids", ARRAY(BigInteger), nullable=False),
    Column("job_ids", ARRAY(BigInteger), nullable=False),
    Column("attempt_counts", ARRAY(SmallInteger), nullable=False),
    Column("error_messages", ARRAY(Text)),
    Column("next_attempt_ats", ARRAY(Timestamp)),
    Column("thumbnail_url", Text),
    CheckConstraint("seq_last - seq_first + 1 = cardinality(model_ids)"),
    CheckConstraint(
        "cardinality(model_ids) = cardinality(job_ids) AND cardinality(job_ids) = cardinality(attempt_counts)"
    ),
)
STORED_EXTERNAL = {"notifications": ("model_ids", "job_ids", "attempt_counts")}

# Versions of models, and the last picture of each.
model_versions = Table(
    "model_versions",
    metadata,
    Column("version_id", BigInteger, primary_key=True, autoincrement=False),
    Column("model_id", BigInteger, nullable=False),
    Column("model_hash", LargeBinary, nullable=False),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    Column("processed_at", Timestamp),
    Column("path", Text),
    Column("size_bytes", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Index("model_versions_of_file", "model_id", "model_hash"),
)

# The ids of job_events, which a statement must know before it writes them.
job_event_seq = Sequence("job_event_seq", metadata=metadata)

# The log of each job, as its workers write it; the newest lines of each.
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
    Index("job_events_of_job", "job_id", "id"),
)


def create(connection: Connection) -> None:
    """Make everything that is described here in an empty database. The migrations do so step by step."""
    metadata.create_all(connection)
    for table, names in STORED_EXTERNAL.items():
        for name in names:
            connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN {name} SET STORAGE EXTERNAL"))
    connection.execute(text(f"CREATE VIEW job_states AS {JOB_STATES}"))
    connection.execute(queue_head.insert())
