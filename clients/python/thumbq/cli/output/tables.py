"""What commands list: lines on a terminal of any width, and whole lines in pipes and files.

Cells hold markup: text of strangers comes through `format_text`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from thumbq.cli.output.formatting import format_duration, format_job_status, format_text, is_on_terminal, out
from thumbq.v1.job_pb2 import Job

Cells = tuple[str, ...]
_HEADINGS = ("job", "model", "status", "attempts", "created")
_NUMBERS = ("job", "model", "attempts")
_MODEL = "Model"
_GAP = "  "
# Lines on a terminal for a remark in a list. The command for one thing shows all of it.
_REMARK_LINES = 3
_INDENT = 4


def print_jobs(jobs: Sequence[Job], none: str) -> None:
    """Print a line for each job, or `none` for no jobs."""
    if jobs:
        others = any(job.asset_type not in ("", _MODEL) for job in jobs)
        headings = (*_HEADINGS, *(["kind"] if others else []), "")
        print_list(headings, [_cells(job, with_kind=others) for job in jobs], _NUMBERS)
    else:
        out.print(none)


def _cells(job: Job, *, with_kind: bool) -> Cells:
    age = format_duration(datetime.now(UTC) - job.created_at.ToDatetime(UTC))
    remark = format_text(job.worker_id or job.error_message)
    attempts = f"{job.attempt_count}/{job.max_attempts}"
    kind = [format_text(job.asset_type or _MODEL)] if with_kind else []
    return str(job.id), str(job.model_id), format_job_status(job), attempts, f"{age} ago", *kind, remark


def print_details(rows: Sequence[tuple[str, str]]) -> None:
    """Print the properties of one thing: a line for each name and its value."""
    if is_on_terminal(out):
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        out.print(table)
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        out.print(f"{name:{width}}{_GAP}{value}", soft_wrap=True)


def print_list(headings: Cells, rows: Sequence[Cells], numbers: Sequence[str] = (), *, whole: bool = False) -> None:
    """Print a line for each thing. Its last cell, a remark, follows below where the terminal has no room beside.

    A long remark is cut on a terminal unless it is wanted `whole`. The columns under `numbers` end at their right. A
    terminal that is too narrow for the other columns shows each thing as its details. Empty headings are left out.
    """
    table = [tuple(Text.from_markup(cell, emoji=False) for cell in cells) for cells in (headings, *rows)]
    widths = [max(cells[column].cell_len for cells in table) for column in range(len(headings) - 1)]
    if is_on_terminal(out) and sum(widths) + len(_GAP) * (len(widths) - 1) > out.width:
        for row in rows:
            print_details([(name, cell) for name, cell in zip(headings, row, strict=True) if cell])
            out.print()
        return
    for number, (*cells, remark) in enumerate(table):
        if not number and not any(cells):
            continue  # headings that are all empty
        for cell, width, heading in zip(cells, widths, headings, strict=False):
            cell.align("right" if heading in numbers else "left", width)
        _print_line(Text(_GAP).join(cells), remark, "" if number else "bold", whole=whole)


def _print_line(line: Text, remark: Text, style: str, *, whole: bool) -> None:
    beside = line + Text(_GAP) + remark
    beside.rstrip()
    if not is_on_terminal(out) or beside.cell_len <= out.width:
        beside.stylize(style)
        out.print(beside, soft_wrap=True)
        return
    line.rstrip()
    out.print(line)
    width = out.width - _INDENT
    lines = list(remark.wrap(out, width))
    if not whole and len(lines) > _REMARK_LINES:
        del lines[_REMARK_LINES:]
        lines[-1].truncate(width - 1)
        lines[-1].append("…")
    out.print(Padding(Text("\n").join(lines), (0, 0, 0, _INDENT)))
