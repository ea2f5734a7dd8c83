"""Which calls are counted, and as what."""

from thumbq_runtime.limits.rates import Kind

# Counted when they are answered without a job, for the worker and for its address.
POLLS = frozenset({"DequeueJob", "DequeueJobs"})
ENQUEUES = frozenset({"EnqueueJob", "EnqueueJobs", "EnqueueColumns", "PublishTestNotification"})
# Never refused: the work would be lost, and only a worker that has claimed a job reports.
REPORTS = frozenset(
    {
        *("CompleteJob", "FailJob", "ReportResults", "ExtendLease", "ReportProgress", "ReleaseJob", "LogJobEvent"),
        "KeepWorkers",
    }
)


def kind_of(rpc: str) -> Kind | None:
    """Return as what a call of this RPC counts; None: as nothing. Every RPC without a name above is a read."""
    if rpc in POLLS:
        return Kind.POLLS
    if rpc in ENQUEUES:
        return Kind.ENQUEUES
    return None if rpc in REPORTS else Kind.READS
