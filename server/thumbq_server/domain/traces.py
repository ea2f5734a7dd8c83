"""The trace that a job belongs to, as W3C Trace Context writes it."""

import re
from datetime import datetime
from typing import NamedTuple

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Trace(NamedTuple):
    """The spans that an attempt belongs to: the one that it continues, and that of a failed attempt before it."""

    traceparent: str
    earlier_attempt: str | None
    # when the job began to wait for its first attempt; None once it has had one
    waits_since: datetime | None = None

    @property
    def trace_id(self) -> str:
        """The id of the trace, in hexadecimal digits."""
        return self.traceparent[3:35]


def read_traceparent(text: str) -> str | None:
    """Return what a caller names, None when it is malformed or not sampled: its job then costs what others cost."""
    if not text or not _TRACEPARENT.fullmatch(text) or not int(text[-2:], 16) & 1:
        return None
    return text
