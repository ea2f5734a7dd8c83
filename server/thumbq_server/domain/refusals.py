"""Requests that the queue refuses, and the texts that their callers read."""


class Refused(Exception):
    """A request that cannot be granted; nothing was changed. The text is for the caller."""


class Invalid(Refused):
    """The request itself is wrong."""


class NotFound(Refused):
    """There is no such job."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Thumbnail job with ID {job_id} was not found.")


class WrongState(Refused):
    """The job, or the lease on it, is not in a state for this."""


class StaleLease(WrongState):
    """The lease is gone: it belongs to another, or to another history of the database."""

    def __init__(self) -> None:
        super().__init__(STALE_LEASE)


NOT_PROCESSING = "Job is not in processing state."

ALREADY_ENDED = "Job has ended already."

NOT_ENDED = "Job is {status}; only an ended or waiting job can be retried."

STALE_LEASE = "The lease on this job is no longer yours."
