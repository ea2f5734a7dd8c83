"""Narrow tables beside the queue, which only some jobs have rows in."""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Double, MetaData, Table, Text, text


def add_progress(metadata: MetaData) -> Table:
    """Add how far jobs have come under a lease. Not worth WAL: after a crash it is empty until workers tell again."""
    return Table(
        "job_progress",
        metadata,
        Column("job_id", BigInteger, primary_key=True, autoincrement=False),
        Column("lease_seq", BigInteger, nullable=False),
        Column("fraction", Double, CheckConstraint("fraction BETWEEN 0 AND 1"), nullable=False),
        Column("message", Text, nullable=False),
        Column("reported_at", DateTime(timezone=True), server_default=text("now()"), nullable=False),
        prefixes=["UNLOGGED"],
    )


def add_traces(metadata: MetaData) -> Table:
    """Add the traces of jobs whose producers named one (docs/decisions/0049-traces.md)."""
    return Table(
        "job_traces",
        metadata,
        Column("job_id", BigInteger, primary_key=True, autoincrement=False),
        Column("traceparent", Text, nullable=False),
        # of the last attempt that failed, as its worker named it
        Column("earlier_attempt", Text),
    )
