"""`thumbq enqueue --from FILE`: puts the jobs of a list into the queue, and continues after an interruption."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from thumbq.cli.errors import TIMEOUT, fail
from thumbq.cli.formatting import out
from thumbq.cli.job_lists import InvalidLine, Listed, read_list
from thumbq.cli.progress import progress_bar
from thumbq.client.errors import InvalidJob
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import EnqueueOutcome
from thumbq_runtime.enum_words import words_of

STANDARD_INPUT = "-"
# Jobs of one call, and of one commit.
_STEP = 1000


async def enqueue_list(server: str, name: str) -> None:
    """Enqueue the jobs of the file, or of standard input, and say how many there were."""
    if name == STANDARD_INPUT:
        await _enqueue(server, read_list(sys.stdin, "standard input"), None)
        return
    path = Path(name)
    try:
        position = Position(path)
        with path.open(encoding="utf-8", newline="") as file:  # noqa: ASYNC230 - nothing else runs here
            await _enqueue(server, position.rest_of(read_list(file, path.name)), position)
        position.forget()
    except OSError as error:
        fail(f"{error.filename or path} cannot be used: {error.strerror}.")


class Position:
    """How far a list is in the queue, noted in a file beside it: the line, and the hash of all lines up to it."""

    def __init__(self, path: Path) -> None:
        self.note = path.with_name(f"{path.name}.position")
        self.size = path.stat().st_size

    def rest_of(self, jobs: Iterator[Listed]) -> Iterator[Listed]:
        """Yield the jobs after the position. Fail when the lines before it are not those of then."""
        if self.note.exists():
            line, digest = self._read()
            reached = next((listed for listed in jobs if listed.line >= line), None)
            if reached is None or (reached.line, reached.digest) != (line, digest):
                self._refuse()
            out.print(f"Lines up to {line} are in the queue already.")
        yield from jobs

    def set(self, listed: Listed) -> None:
        """Note that all jobs up to this one are in the queue."""
        new = self.note.with_suffix(".new")
        new.write_text(json.dumps({"line": listed.line, "sha256": listed.digest}) + "\n")
        new.replace(self.note)

    def forget(self) -> None:
        """Remove the note, because all is done."""
        self.note.unlink(missing_ok=True)

    def _read(self) -> tuple[int, str]:
        try:
            noted = json.loads(self.note.read_text())
            return int(noted["line"]), str(noted["sha256"])
        except (ValueError, KeyError, TypeError):
            self._refuse()

    def _refuse(self) -> NoReturn:
        fail(f"The list has changed since {self.note} was written: remove that file to begin the list again.")


async def _enqueue(server: str, jobs: Iterator[Listed], position: Position | None) -> None:
    outcomes = Counter[str]()
    with progress_bar("enqueued", position.size if position else None, counts=False) as advance:
        async with Producer(server, timeout=TIMEOUT) as producer:
            taken = _Taken(producer, outcomes, position, advance)
            while True:
                step, problem = _step(jobs)
                await taken.all_of(step)
                if problem:
                    fail(f"{problem}. The jobs before that line are in the queue.")
                if not step:
                    break
    told = ", ".join(f"{count} {word}" for word, count in sorted(outcomes.items()))
    out.print(f"{sum(outcomes.values())} jobs: {told or 'the list is empty'}")


def _step(jobs: Iterator[Listed]) -> tuple[list[Listed], InvalidLine | None]:
    """Return the next jobs, and the problem of the line after them if it has one."""
    step: list[Listed] = []
    try:
        for listed in islice(jobs, _STEP):
            step.append(listed)  # noqa: PERF402 - those before a broken line are kept
    except InvalidLine as problem:
        return step, problem
    return step, None


class _Taken:
    """Jobs on their way into the queue, in their order."""

    def __init__(
        self,
        producer: Producer,
        outcomes: Counter[str],
        position: Position | None,
        advance: Callable[[float], object],
    ) -> None:
        self._producer = producer
        self._outcomes = outcomes
        self._position = position
        self._advance = advance
        self._size = 0

    async def all_of(self, step: Sequence[Listed]) -> None:
        """Enqueue the jobs. Fail at the first that the queue refuses; those before it are in the queue."""
        if not step:
            return
        try:
            answers = await self._producer.enqueue([listed.job for listed in step])
        except InvalidJob as refusal:
            if len(step) == 1:
                fail(f"Line {step[0].line} is refused: {refusal}. The jobs before that line are in the queue.")
            half = len(step) // 2
            await self.all_of(step[:half])
            await self.all_of(step[half:])
            return
        words = words_of(EnqueueOutcome.DESCRIPTOR)
        self._outcomes.update(words.get(answer.outcome, str(answer.outcome)).lower() for answer in answers)
        if self._position:
            self._position.set(step[-1])
        self._advance(step[-1].size - self._size)
        self._size = step[-1].size
