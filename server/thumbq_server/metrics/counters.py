"""The metrics of a server for Prometheus. No label is the name of a worker or a model: the series stay few."""

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from thumbq_runtime.access.api_keys import presented_key
from thumbq_runtime.addresses import bare
from thumbq_runtime.limits.rates import Kind
from thumbq_runtime.tls.certificates import Certificates
from thumbq_server.domain.job import Verdict
from thumbq_server.domain.operations import Condition, Depth, Durations
from thumbq_server.metrics.listener import listening
from thumbq_server.metrics.observer import Observer

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 10_000)


class Counters(Observer):
    """Counts the reports of the parts, in a registry of its own."""

    def __init__(self, database_folder: Path | None = None) -> None:
        """`database_folder`: the folder of PostgreSQL, if it is on this machine."""
        self.registry = CollectorRegistry()
        self._show = make_wsgi_app(self.registry)
        self._admits: Callable[[str | None], bool] = lambda _key: False
        self._describe_queue()
        self._describe_database(database_folder)
        self._describe_work()
        self._describe_server()

    @contextmanager
    def serving(self, host: str, port: int, certificates: Certificates | None = None) -> Iterator[int]:
        """Answer Prometheus on the port that is yielded. Raises OSError.

        A thread of its own does so, which answers while the event loop is busy.
        """
        address = bare(host) or "0.0.0.0"  # noqa: S104 - as for gRPC
        with listening(address, port, self._door, certificates) as chosen:
            yield chosen

    def admit_only(self, admits: Callable[[str | None], bool]) -> None:
        """Show the metrics to callers whose key, or None, is admitted. Before that they are shown to none."""
        self._admits = admits

    def _door(self, request: dict[str, Any], begin: Callable[..., Any]) -> Iterable[bytes]:
        key = presented_key(lambda name: request.get(f"HTTP_{name.upper().replace('-', '_')}"))
        if self._admits(key):
            shown: Iterable[bytes] = self._show(request, begin)
            return shown
        begin("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
        return [b"This needs an API key.\n"]

    def called(self, rpc: str, status: str, seconds: float) -> None:
        """Count a unary call."""
        self._calls.labels(rpc, status).inc()
        self._call_seconds.labels(rpc).observe(seconds)

    def streams(self, rpc: str, change: int) -> None:
        """Count open streams."""
        self._streams.labels(rpc).inc(change)

    def refused(self, kind: Kind) -> None:
        """Count a call that came too often."""
        self._refused.labels(kind).inc()

    def batch(self, verb: str, size: int) -> None:
        """Count the jobs of a statement."""
        self._batches.labels(verb).observe(size)

    def results(self, verb: str, verdicts: Mapping[Verdict, int]) -> None:
        """Count results."""
        for verdict, count in verdicts.items():
            self._results.labels(verb, verdict.value).inc(count)

    def dead_letters(self, count: int) -> None:
        """Count jobs that failed for good."""
        self._dead_letters.inc(count)

    def cancelled(self, count: int) -> None:
        """Count jobs that were cancelled."""
        self._cancelled.inc(count)

    def done(self, duty: str, count: int) -> None:
        """Count what duties did."""
        self._done.labels(duty).inc(count)

    def notified(self, lag: float) -> None:
        """Count how late notifications are read."""
        self._notification_lag.observe(lag)

    def pool_wait(self, seconds: float) -> None:
        """Count waits for a connection."""
        self._pool_wait.observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """Count how late the event loop is."""
        self._loop_lag.observe(seconds)

    def ready(self, is_ready: bool) -> None:
        """Show whether this server can do its work."""
        self._ready.set(is_ready)

    def queue(self, depth: Depth, durations: Durations) -> None:
        """Show how the queue is."""
        for status, count in depth.counters._asdict().items():
            self._jobs.labels(status).set(count)
        self._oldest.set(depth.oldest_age or 0)
        self._workers.set(depth.workers)
        self._paused.set(depth.pause is not None)
        for gauge, quantiles in ((self._wait, durations.wait), (self._processing, durations.processing)):
            if quantiles is None:
                gauge.clear()  # the log has no completed attempt any more
            for name, seconds in quantiles._asdict().items() if quantiles else ():
                gauge.labels(f"0.{name[1:].rstrip('0')}").set(seconds)

    def queue_unknown(self) -> None:
        """Show that its figures are unknown: of several servers, one that is cut off must not tell of the past."""
        for gauge in (self._jobs, self._wait, self._processing):
            gauge.clear()
        for gauge in (self._oldest, self._workers, self._paused):
            gauge.set(math.nan)

    def condition(self, condition: Condition) -> None:
        """Show how the database is."""
        for table, rows in condition.dead_rows.items():
            self._dead_rows.labels(table).set(rows)
        self._transaction.set(math.nan if condition.oldest_transaction is None else condition.oldest_transaction)
        self._lock_waits.set(condition.lock_waits)
        self._longest_lock_wait.set(condition.longest_lock_wait)
        self._database_bytes.set(condition.size_bytes)

    def condition_unknown(self) -> None:
        """Show that its figures are unknown."""
        self._dead_rows.clear()
        for gauge in self._of_database:
            gauge.set(math.nan)

    def disk(self, free: float) -> None:
        """Show how much room the disk of the database has."""
        self._disk_free.set(free)

    def _describe_queue(self) -> None:
        # From the database: every server that reaches it shows the same.
        self._jobs = self._gauge("jobs", "Jobs by status.", "status")
        self._oldest = self._gauge("oldest_due_age_seconds", "Age of the oldest job that is due; 0 when none is.")
        self._workers = self._gauge(
            "workers", "Sessions of workers that were heard of in the last minute, or hold a job."
        )
        self._paused = self._gauge("paused", "1 while the queue is paused.")
        self._wait = self._gauge("wait_seconds", "Wait of the last 500 completed attempts.", "quantile")
        self._processing = self._gauge(
            "processing_seconds", "Processing time of the last 500 completed attempts.", "quantile"
        )

    def _describe_database(self, folder: Path | None) -> None:
        self._dead_rows = self._gauge("dead_rows", "Dead rows that PostgreSQL has not cleared away yet.", "table")
        self._transaction = self._gauge(
            "oldest_transaction_seconds",
            "Age of the oldest transaction in the database: no row that it may see is cleared away. NaN until the"
            " role of DATABASE_URL has GRANT pg_monitor.",
        )
        self._lock_waits = self._gauge("lock_waits", "Sessions in the database that wait for a lock.")
        self._longest_lock_wait = self._gauge(
            "longest_lock_wait_seconds", "How long the longest of them has waited; 0 when none waits."
        )
        self._database_bytes = self._gauge("database_bytes", "Size of the database.")
        self._of_database = (
            self._transaction,
            self._lock_waits,
            self._longest_lock_wait,
            self._database_bytes,
        )
        self._disk_free = Gauge(
            "thumbq_database_disk_free_bytes",
            "Free bytes of the disk with the database; NaN when it is away or does not answer, missing without"
            " THUMBQ_DATABASE_FOLDER, which `thumbq serve` sets for its own.",
            registry=self.registry if folder else None,
        )
        self._disk_free.set(math.nan)

    def _describe_work(self) -> None:
        self._results = self._counter("results", "Results of workers, by verb and answer.", "verb", "verdict")
        # a rate needs a first value: without one the first result of a quiet server would not be seen
        for verb in ("complete", "fail", "release"):
            for verdict in (Verdict.OK, Verdict.STALE):
                self._results.labels(verb, verdict.value)
        self._dead_letters = self._counter("dead_letters", "Jobs whose last attempt failed or expired.")
        self._cancelled = self._counter("cancelled", "Jobs that were cancelled.")
        self._done = self._counter(
            "duty_done", "What regular duties did: leases that expired, rows that were pruned.", "duty"
        )
        self._batches = self._histogram("batch_size", "Jobs that one statement is for.", _SIZES, "verb")
        self._calls = self._counter(
            "rpcs", "Unary calls that ended, by method and status; not those without a valid key.", "rpc", "status"
        )
        self._refused = self._counter(
            "refused",
            "Calls that were refused because they came too often or were too many, by what they counted as.",
            "kind",
        )
        for kind in Kind:
            self._refused.labels(kind)
        self._call_seconds = self._histogram(
            "rpc_seconds", "Time of unary calls, those that wait for a job included.", _SECONDS, "rpc"
        )
        self._streams = self._gauge(
            "streams",
            "Open streams: StreamJobs of workers, EnqueueStream of producers, Subscribe and WatchQueue of subscribers.",
            "rpc",
        )
        for rpc in ("StreamJobs", "EnqueueStream", "Subscribe", "WatchQueue"):
            self._streams.labels(rpc)

    def _describe_server(self) -> None:
        self._ready = self._gauge("ready", "1 while this server can do its work.")
        self._notification_lag = self._histogram(
            "notification_lag_seconds", "Time from the commit of a notification until this server reads it.", _SECONDS
        )
        self._pool_wait = self._histogram("pool_wait_seconds", "Time that statements wait for a connection.", _SECONDS)
        self._loop_lag = self._histogram("event_loop_lag_seconds", "How late the event loop is.", _SECONDS)
        build = self._gauge("build_info", "1, with the version as labels.", "version", "python")
        build.labels(version("thumbq"), platform.python_version()).set(1)

    def _gauge(self, name: str, sentence: str, *labels: str) -> Gauge:
        return Gauge(f"thumbq_{name}", sentence, labels, registry=self.registry)

    def _counter(self, name: str, sentence: str, *labels: str) -> Counter:
        return Counter(f"thumbq_{name}", sentence, labels, registry=self.registry)

    def _histogram(self, name: str, sentence: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"thumbq_{name}", sentence, labels, buckets=buckets, registry=self.registry)
