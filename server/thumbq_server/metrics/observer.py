"""What the parts of a server report as they work. This one forgets it: a server without metrics pays for none."""

from collections.abc import Callable, Mapping

from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.job import Verdict
from thumbq_server.domain.operations import Condition, Depth, Durations


class Observer:
    """Takes reports. `metrics.counters` counts them."""

    def admit_only(self, admits: Callable[[str | None], bool]) -> None:
        """Show the metrics to callers whose key, or None, is admitted. Before that they are shown to none."""

    def called(self, rpc: str, status: str, seconds: float) -> None:
        """Note a unary call that ended."""

    def streams(self, rpc: str, change: int) -> None:
        """Note that a stream began (1) or ended (-1)."""

    def refused(self, kind: Kind) -> None:
        """Note that a call came too often."""

    def batch(self, verb: str, size: int) -> None:
        """Note how many jobs one statement is for."""

    def results(self, verb: str, verdicts: Mapping[Verdict, int]) -> None:
        """Note how many reports of workers were answered in each way."""

    def dead_letters(self, count: int) -> None:
        """Note attempts that failed or expired, and whose jobs get no other."""

    def cancelled(self, count: int) -> None:
        """Note jobs that were cancelled."""

    def done(self, duty: str, count: int) -> None:
        """Note how much a duty of the janitor did."""

    def notified(self, lag: float) -> None:
        """Note the seconds from the commit of a notification until this server has read it."""

    def pool_wait(self, seconds: float) -> None:
        """Note how long a statement waited for a connection."""

    def loop_lag(self, seconds: float) -> None:
        """Note how late the event loop was."""

    def ready(self, is_ready: bool) -> None:
        """Note whether this server can do its work."""

    def queue(self, depth: Depth, durations: Durations) -> None:
        """Note how the queue is."""

    def queue_unknown(self) -> None:
        """Note that the figures of the queue are unknown."""

    def condition(self, condition: Condition) -> None:
        """Note how the database is."""

    def condition_unknown(self) -> None:
        """Note that the figures of the database are unknown."""

    def disk(self, free: float) -> None:
        """Note how many bytes are free on the disk of the database; NaN when that is unknown."""
