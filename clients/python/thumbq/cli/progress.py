"""The bar that long commands show on a terminal, on standard error, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(what: str, total: float | None, *, counts: bool = True) -> Iterator[Callable[[float], object]]:
    """Show how much of `total` is done, which may be unknown; yield what is called with each further part."""
    console = Console(stderr=True, highlight=False, emoji=False)
    amount = MofNCompleteColumn() if counts else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda part: bar.advance(task, part)
