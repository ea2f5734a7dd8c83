"""Lists of jobs for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.padding import Padding
from rich.text import Text

from thumbq.cli.formatting import format_duration, format_job_status, format_text, out
from thumbq.v1.job_pb2 import Job
from thumbq_runtime.text import printable

_HEADINGS = ("job", "model", "status", "attempts", "created")
_NUMBERS = {"job", "model", "attempts"}
_MODEL = "Model"


def print_jobs(jobs: Sequence[Job], none: str) -> None:
    """Print a line for each job, or `none` for no jobs."""
    if jobs:
        others = any(job.asset_type not in ("", _MODEL) for job in jobs)
        headings = (*_HEADINGS, *(["kind"] if others else []))
        _print_rows(headings, [_row(job, with_kind=others) for job in jobs])
    else:
        out.print(none)


def _row(job: Job, *, with_kind: bool) -> tuple[str, ...]:
    age = format_duration(datetime.now(UTC) - job.created_at.ToDatetime(UTC))
    remark = printable(job.worker_id or job.error_message)
    attempts = f"{job.attempt_count}/{job.max_attempts}"
    kind = [format_text(job.asset_type or _MODEL)] if with_kind else []
    return str(job.id), str(job.model_id), format_job_status(job), attempts, f"{age} ago", *kind, remark


def _print_rows(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a line for each job; a remark that does not fit into a terminal follows below its job."""
    table = [tuple(map(Text.from_markup, cells[: len(headings)])) for cells in (headings, *rows)]
    widths = [max(cells[column].cell_len for cells in table) for column in range(len(headings))]
    for cells, remark in zip(table, ("", *(row[-1] for row in rows)), strict=True):
        for cell, width, heading in zip(cells, widths, headings, strict=True):
            cell.align("right" if heading in _NUMBERS else "left", width)
        line = Text("  ").join(cells)
        if cells is table[0]:
            line.stylize("bold")
        beside = line + Text(f"  {remark}" if remark else "")
        beside.rstrip()
        if out.is_terminal and beside.cell_len > out.width:
            out.print(line)
            out.print(Padding(Text(remark), (0, 0, 0, 4)))
        else:
            out.print(beside, soft_wrap=True)
