"""The history of a run in PostgreSQL: triggers record each step of each job, in the transaction that made it.

So the checker does not depend on the service's own records. The steps:

    created    a job; `detail` is model/hash             asked again  a job starts again (reset, retry, force)
    claimed    a lease; `detail` is max_attempts         ended        that lease, however it ended
    recorded   an attempt's end, or a cancel, in `attempts`: outcome if the job ends, and the error message as `detail`
    shown      that end is what the model shows: its status as `outcome`, its path or error message as `detail`, and the
               request it follows
    announced  a notification: its position in the log as `seq`, its status as `outcome`
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

INSTALL = """
CREATE TABLE chaos_history (
    number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    xact    text NOT NULL DEFAULT pg_current_xact_id()::text,
    step    text NOT NULL,
    job_id  bigint NOT NULL,
    lease_seq bigint,
    attempt smallint,
    worker  bigint,
    seq     bigint,
    request_no bigint,
    outcome text,
    detail  text
);

CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_ARGV[0]
    WHEN 'created' THEN
        INSERT INTO chaos_history (step, job_id, detail)
        VALUES ('created', NEW.id, NEW.model_id || '/' || encode(NEW.model_hash, 'hex'));
    WHEN 'asked again' THEN
        INSERT INTO chaos_history (step, job_id) VALUES ('asked again', NEW.id);
    WHEN 'claimed' THEN
        INSERT INTO chaos_history (step, job_id, lease_seq, attempt, worker, detail)
        SELECT 'claimed', NEW.job_id, NEW.lease_seq, NEW.attempt, NEW.session, j.max_attempts::text
          FROM jobs j WHERE j.id = NEW.job_id;
    WHEN 'ended' THEN
        -- a lease that a completion put back in the same statement has not ended
        INSERT INTO chaos_history (step, job_id, lease_seq, attempt, worker)
        SELECT 'ended', OLD.job_id, OLD.lease_seq, OLD.attempt, OLD.session
         WHERE NOT EXISTS (SELECT FROM leases WHERE job_id = OLD.job_id AND lease_seq = OLD.lease_seq);
    WHEN 'recorded' THEN
        INSERT INTO chaos_history (step, job_id, lease_seq, attempt, outcome, detail)
        VALUES ('recorded', NEW.job_id, NEW.lease_seq, NEW.attempt,
                CASE WHEN NEW.next_attempt_at IS NULL THEN NEW.outcome END, NEW.error_message);
    WHEN 'shown' THEN
        INSERT INTO chaos_history (step, job_id, attempt, request_no, outcome, detail)
        SELECT 'shown', NEW.job_id, NEW.attempt, coalesce(NEW.request_no, j.request_no),
               CASE NEW.outcome WHEN 'Completed' THEN 'Ready' ELSE 'Failed' END, coalesce(NEW.path, NEW.error_message)
          FROM jobs j WHERE j.id = NEW.job_id;
    WHEN 'announced' THEN
        INSERT INTO chaos_history (step, job_id, attempt, seq, outcome, detail)
        SELECT 'announced', n.job_id, n.attempt, NEW.seq_first + n.place - 1, NEW.status, n.model_id::text
          FROM unnest(NEW.job_ids, NEW.attempt_counts, NEW.model_ids) WITH ORDINALITY
            AS n (job_id, attempt, model_id, place);
    END CASE;
    RETURN NULL;
END $$;

CREATE TRIGGER chaos_created AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_note('created');
CREATE TRIGGER chaos_again AFTER UPDATE OF priority ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_note('asked again');
CREATE TRIGGER chaos_claimed AFTER INSERT ON leases FOR EACH ROW WHEN (NOT NEW.contested)
    EXECUTE FUNCTION chaos_note('claimed');
CREATE TRIGGER chaos_ended AFTER DELETE ON leases FOR EACH ROW EXECUTE FUNCTION chaos_note('ended');
CREATE TRIGGER chaos_recorded AFTER INSERT ON attempts FOR EACH ROW WHEN (NEW.outcome <> 'Released')
    EXECUTE FUNCTION chaos_note('recorded');
CREATE TRIGGER chaos_shown AFTER INSERT ON attempts FOR EACH ROW WHEN (NEW.end_no IS NOT NULL)
    EXECUTE FUNCTION chaos_note('shown');
CREATE TRIGGER chaos_announced AFTER INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION chaos_note('announced');
"""

_READ = """
    SELECT number, extract(epoch FROM at)::float8 AS at, xact, step, job_id, lease_seq, attempt,
           (SELECT w.worker_id FROM workers w WHERE w.id = worker) AS worker, seq, request_no,
           outcome, detail
      FROM chaos_history ORDER BY number
"""


class Step(NamedTuple):
    """One line of the history. `number` is in the order of commits for all steps of one job."""

    number: int
    at: float
    xact: str
    step: str
    job_id: int
    lease_seq: int | None
    attempt: int | None
    worker: str | None
    seq: int | None
    request_no: int | None
    outcome: str | None
    detail: str | None

    def __str__(self) -> str:
        named = zip(("lease", "attempt", "worker", "seq", "request", "outcome", "detail"), self[5:], strict=True)
        facts = [f"{name}={value}" for name, value in named if value is not None]
        return f"{self.at:.3f}  PostgreSQL (transaction {self.xact}): {self.step} {' '.join(facts)}"


@dataclass
class Lease:
    """The life of one lease: its claim, and the steps of its end."""

    claimed: Step
    ended: Step | None = None
    recorded: Step | None = None
    shown: Step | None = None

    @property
    def token(self) -> str:
        return f"{self.claimed.job_id}-{self.claimed.lease_seq}"

    @property
    def end(self) -> str:
        """`held`, `released`, `cancelled`, `expired`, `failed` or `completed`."""
        if self.ended is None:
            return "held"
        if self.recorded is None:
            return "released"
        if self.recorded.outcome == "Cancelled":
            return "cancelled"
        if self.recorded.detail is None:
            return "completed"
        return "expired" if self.recorded.detail.startswith("Lease expired:") else "failed"

    @property
    def evidence(self) -> str | None:
        """The text that identifies the accepted report: the picture's path, or the error message."""
        if self.end == "completed":
            return self.shown.detail if self.shown else None
        return self.recorded.detail if self.recorded else None


@dataclass
class History:
    """All steps, by job and by transaction."""

    steps: list[Step]
    of_job: dict[int, list[Step]] = field(default_factory=lambda: defaultdict(list))
    of_commit: dict[tuple[str, int], list[Step]] = field(default_factory=lambda: defaultdict(list))
    leases: dict[str, Lease] = field(default_factory=dict)
    # Violations that the triggers recorded: leases that were given twice, or ended without a beginning.
    impossible: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for step in self.steps:
            self.of_job[step.job_id].append(step)
            self.of_commit[step.xact, step.job_id].append(step)
        for step in self.steps:
            token = f"{step.job_id}-{step.lease_seq}"
            if step.step == "claimed":
                if token in self.leases:
                    self.impossible.append(f"job {step.job_id}: lease {token} was given twice")
                self.leases[token] = Lease(step)
            elif step.step == "ended":
                self._end(token, step)

    def _end(self, token: str, step: Step) -> None:
        lease = self.leases.get(token)
        if lease is None or lease.ended is not None:
            self.impossible.append(f"job {step.job_id}: lease {token} ended twice, or without having begun")
            return
        lease.ended = step
        for other in self.of_commit[step.xact, step.job_id]:
            if other.step == "recorded":
                lease.recorded = other
            elif other.step == "shown":
                lease.shown = other


async def read_history(connection: asyncpg.Connection) -> History:
    return History([Step(*row) for row in await connection.fetch(_READ)])
