"""The queue: jobs, the places where they stand, workers, and the log of notifications.

A job stands in exactly one place: in `ready` (Pending), in `leases` (Processing), or its last row in `attempts` has
ended it (docs/decisions/0010-append-only-ends.md). There are no foreign keys: a check per row costs more than the rest
of the row.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from thumbq_server.storage.schema.base import NOW, Timestamp, metadata

# Every enqueue and reset takes a number: the newest request of a model decides what it shows.
request_seq = Sequence("request_seq", metadata=metadata)
# Every claim takes a number, which all its leases share: the fence of each of them.
claim_seq = Sequence("claim_seq", metadata=metadata)
# Ends that models show are numbered: of one model, in the order of their commits.
end_seq = Sequence("end_seq", metadata=metadata)

# The record of a job. An enqueue writes it; a reset, a restart, a renewal, and the end of an attempt that is to run
# again change it.
jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("model_id", BigInteger, nullable=False),
    Column("request_no", BigInteger, server_default=text("nextval('request_seq'::regclass)"), nullable=False),
    # attempts up to this lease_seq belong to an earlier life: a reset forgets their errors; NULL: none do
    Column("since", BigInteger),
    Column("created_at", Timestamp, server_default=NOW, nullable=False),
    # when the first attempt of this life was due: later than its begin for an enqueue with a delay
    Column("due_at", Timestamp, server_default=NOW, nullable=False),
    # when this life began; NULL: when the job was created
    Column("reset_at", Timestamp),
    Column("priority", SmallInteger, nullable=False),
    Column("max_attempts", SmallInteger, nullable=False),
    Column("model_hash", LargeBinary, nullable=False),
    # NULL stands for Model
    Column("kind", Text),
    # canonical JSON
    Column("options", Text),
    UniqueConstraint("model_id", "model_hash"),
    # One check of a row costs less than one for each column.
    CheckConstraint(
        "model_id > 0 AND priority BETWEEN 0 AND 9 AND max_attempts BETWEEN 1 AND 10 AND octet_length(model_hash) = 32"
    ),
)

# Pending jobs, with all that a claim hands out. A claim scans this and nothing else. Jobs of another kind than Model
# have the rank infinity, so that claims of Models do not see them, and an index of their own.
ready = Table(
    "ready",
    metadata,
    # run_at less a minute for each step of priority: one index serves priority and ageing
    Column("rank", Timestamp, primary_key=True),
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_at", Timestamp, nullable=False),
    Column("model_id", BigInteger, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("max_attempts", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, CheckConstraint("attempt >= 0"), nullable=False),
    Column("model_hash", LargeBinary, nullable=False),
    Column("kind", Text),
    Column("kind_rank", Timestamp),
    Column("options", Text),
    Index("ready_of_kind", "kind", "kind_rank", "job_id", postgresql_where=text("kind IS NOT NULL")),
    postgresql_with={"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_cost_delay": 0},
)

# Processing jobs. lease_seq is the fence: of one job it only ever grows, and a result must name it.
leases = Table(
    "leases",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lease_seq", BigInteger, CheckConstraint("lease_seq > 0"), nullable=False),
    Column("model_id", BigInteger, nullable=False),
    Column("session", BigInteger, nullable=False),
    Column("claimed_at", Timestamp, nullable=False),
    # not indexed, so that extensions stay HOT: the table is as small as the number of jobs in flight
    Column("expires_at", Timestamp, nullable=False),
    # the claim that it came from: a claim that broke off before its answer is found again by this
    Column("claim_id", BigInteger, server_default=text("0"), nullable=False),
    Column("attempt", SmallInteger, CheckConstraint("attempt > 0"), nullable=False),
    # another job of the model has ended meanwhile, or tried to: this one must look before it ends
    Column("contested", Boolean, server_default=text("false"), nullable=False),
    # set by an enqueue with force, or of another kind: the job runs again when this attempt has ended
    Column("rerun_request_no", BigInteger),
    # of that enqueue
    Column("rerun_kind", Text),
    Column("rerun_options", Text),
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_cost_delay": 0},
)

# The ends of attempts: the history of each job, and what models show. An end never changes. Later statements write
# request_no and dead, empty path when the file is removed, and delete rows that are pruned or forgotten.
attempts = Table(
    "attempts",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    # of the lease that ended; a cancelled job that had none takes a number for its row
    Column("lease_seq", BigInteger, primary_key=True, autoincrement=False),
    # set when this end changed what the model shows; the model shows the highest
    Column("end_no", BigInteger),
    Column("ended_at", Timestamp, server_default=NOW, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("session", BigInteger),
    Column("claimed_at", Timestamp),
    # empty when the file was listed for removal
    Column("path", Text),
    Column("size_bytes", BigInteger),
    Column("width", Integer),
    Column("height", Integer),
    Column("error_message", Text),
    # when the job is due again; NULL: it has ended with this
    Column("next_attempt_at", Timestamp),
    # the request that this end belongs to, when the job has gone to a newer one since; NULL: that of the job
    Column("request_no", BigInteger),
    # the job has ended with this, without a picture, and was not started again
    Column("dead", Boolean),
    CheckConstraint("""
        CASE outcome
          WHEN 'Completed' THEN path IS NOT NULL AND error_message IS NULL
          WHEN 'Failed' THEN path IS NULL AND error_message IS NOT NULL
          WHEN 'Cancelled' THEN path IS NULL AND end_no IS NULL
          WHEN 'Released' THEN path IS NULL AND end_no IS NULL
          ELSE false
        END AND attempt >= 0 AND size_bytes >= 0 AND width > 0 AND height > 0 AND dead"""),
    Index("attempts_dead", "job_id", postgresql_where=text("dead")),
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
    # attempts that ended with a picture, and without one by a report or an expiry; and when they were added up last
    Column("completed", BigInteger, server_default=text("0"), nullable=False),
    Column("failed", BigInteger, server_default=text("0"), nullable=False),
    Column("completed_per_minute", Double, server_default=text("0"), nullable=False),
    Column("counted_at", Timestamp),
    UniqueConstraint("worker_id", "session_id"),
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
    # ended jobs, and below all jobs: counting them would read every row
    Column("completed", BigInteger, CheckConstraint("completed >= 0"), server_default=text("0"), nullable=False),
    # raised by every server all the time, and where the table was then: a restored one is behind, or elsewhere
    Column("beat", BigInteger, server_default=text("0"), nullable=False),
    Column("identity", Text),
    Column("failed", BigInteger, CheckConstraint("failed >= 0"), server_default=text("0"), nullable=False),
    Column("cancelled", BigInteger, CheckConstraint("cancelled >= 0"), server_default=text("0"), nullable=False),
    Column("jobs", BigInteger, server_default=text("0"), nullable=False),
    postgresql_with={"fillfactor": 10},
)

# A row while the queue is paused: claims find nothing then.
queue_pause = Table(
    "queue_pause",
    metadata,
    Column("only_row", Boolean, CheckConstraint("only_row"), server_default=text("true"), primary_key=True),
    Column("paused_at", Timestamp, server_default=NOW, nullable=False),
    Column("paused_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# One row a commit, its notifications side by side in arrays. Compressing ids costs more time than it saves room, so
# their arrays are stored EXTERNAL; attempt counts are mostly all the same.
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
    # true: not the end of an attempt, or one that stands in other_ends
    Column("counted_apart", Boolean),
    CheckConstraint("seq_last - seq_first + 1 = cardinality(model_ids)"),
    CheckConstraint(
        "cardinality(model_ids) = cardinality(job_ids) AND cardinality(job_ids) = cardinality(attempt_counts)"
    ),
)
STORED_EXTERNAL = {"notifications": ("model_ids", "job_ids")}
# PostgreSQL would count the elements of arrays whenever autovacuum analyzes the log, and no plan needs that
# (docs/decisions/0069-the-log-is-not-sampled.md).
NOT_SAMPLED = {"notifications": ("model_ids", "job_ids", "attempt_counts", "error_messages", "next_attempt_ats")}
# An analyze of all columns looks at 300 rows for each step of the target: 3,000 instead of 30,000
# (docs/decisions/0080-small-samples.md).
SAMPLED_LITTLE = {table.name: tuple(table.columns.keys()) for table in (jobs, ready, leases, attempts)}
