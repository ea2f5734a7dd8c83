"""How the commands show times, lengths of time and statuses."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.markup import escape

from thumbq.v1.job_pb2 import Job, JobStatus, ThumbnailStatus
from thumbq_runtime.enum_words import words_of
from thumbq_runtime.text import printable

_COLOURS = {
    "Pending": "yellow",
    "Processing": "cyan",
    "Completed": "green",
    "Ready": "green",
    "Failed": "red",
    "Cancelled": "dim",
}

# Ends of attempts that are shown where there are any.
RARE_ENDS = ("expired", "cancelled", "released")

out = Console(highlight=False, emoji=False)


def is_on_terminal(console: Console) -> bool:
    """Return whether a terminal shows it. FORCE_COLOR makes rich take every pipe for one."""
    return console.is_terminal and console.file.isatty()


def format_job_status(job: Job) -> str:
    """Return the word for the job's status, in its colour."""
    return _coloured(words_of(JobStatus.DESCRIPTOR).get(job.status, str(job.status)))


def format_thumbnail_status(status: ThumbnailStatus.ValueType) -> str:
    """Return the word for a thumbnail's status, in its colour."""
    return _coloured(words_of(ThumbnailStatus.DESCRIPTOR).get(status, str(status)))


def format_text(text: str) -> str:
    """Return text of strangers for the terminal: its control characters and its markup mean nothing."""
    return escape(printable(text))


def format_time(moment: Timestamp) -> str:
    """Return the local time of day, with the date unless it is today's."""
    local = moment.ToDatetime(UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def format_duration(duration: timedelta) -> str:
    """Return a length of time in its one or two largest units: "8 s", "3 min 5 s", "2 h 10 min"."""
    seconds = max(round(duration.total_seconds()), 0)
    units = [
        ("d", seconds // 86_400),
        ("h", seconds // 3600 % 24),
        ("min", seconds // 60 % 60),
        ("s", seconds % 60),
    ]
    first = next((index for index, (_, count) in enumerate(units) if count), 3)
    parts = [f"{count} {unit}" for unit, count in units[first : first + 2] if count]
    return " ".join(parts) or "0 s"


def format_rate(per_minute: float) -> str:
    """Return a rate, with one place below ten: "0.3", "57"."""
    return f"{per_minute:.1f}" if per_minute < 9.95 else f"{per_minute:.0f}"


def _coloured(word: str) -> str:
    return f"[{_COLOURS.get(word, 'default')}]{word}[/]"
