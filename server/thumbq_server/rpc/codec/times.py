"""Times and durations."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq_server.domain.refusals import Invalid


def timestamp(moment: datetime) -> Timestamp:
    """Return a Timestamp, three times as fast as FromDatetime, which works for every calendar there is."""
    return Timestamp(seconds=int(moment.timestamp()), nanos=moment.microsecond * 1000)


def optional_timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a Timestamp, or None for None."""
    return None if moment is None else timestamp(moment)


def timedelta_of(duration: Duration) -> timedelta:
    """Return the Duration as a timedelta; raise Invalid when it is beyond what that holds."""
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise Invalid("a duration is out of range") from error


def duration(seconds: float) -> Duration:
    """Return seconds as a Duration."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message
