"""The bar that long commands show on a terminal, on standard error, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from thumbq.cli.errors import standard_error
from thumbq.cli.output.formatting import is_on_terminal


class Bar:
    """The bar of one command."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, part: float) -> None:
        """Show that a further part is done."""
        self._progress.advance(self._task, part)

    def describe(self, what: str) -> None:
        """Show what is being done."""
        self._progress.update(self._task, description=what)


@contextmanager
def progress_bar(what: str, total: float | None, *, counts: bool = True) -> Iterator[Bar]:
    """Show how much of `total` is done, which may be unknown."""
    amount = MofNCompleteColumn() if counts else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    hidden = not is_on_terminal(standard_error)
    with Progress(*columns, console=standard_error, transient=True, disable=hidden) as progress:
        yield Bar(progress, progress.add_task(what, total=total))
