"""`thumbq enqueue --from FILE`: puts the jobs of a list into the queue, and continues after an interruption."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn

from thumbq.cli.enqueue.job_lists import InvalidLine, Listed, read_list
from thumbq.cli.errors import TIMEOUT, fail, warn
from thumbq.cli.output.formatting import out
from thumbq.cli.output.progress import Bar, progress_bar
from thumbq.client.batches import Enqueued
from thumbq.client.errors import InvalidJob, Unavailable
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import EnqueueOutcome
from thumbq_runtime.enum_words import words_of

STANDARD_INPUT = "-"
# Jobs of one call.
_STEP = 1000
_ENQUEUED = "enqueued"


async def enqueue_list(server: str, name: str) -> None:
    """Enqueue the jobs of the file, or of standard input, and say how many there were."""
    if name == STANDARD_INPUT:
        told = await _enqueue(server, read_list(sys.stdin.buffer, "standard input"), None)
    else:
        told = await _enqueue_file(server, Path(name))
    out.print(told)


async def _enqueue_file(server: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            jobs = read_list(file, path.name)
            if position := _position_of(path, server):
                position.try_out()
                jobs = position.rest_of(jobs)
            told = await _enqueue(server, jobs, position)
        if position:
            position.forget()
        return told
    except OSError as error:
        fail(f"{error.filename or path} cannot be used: {error.strerror}.")


class Position:
    """How far a list is in the queue of a server, noted in a file beside it: the line, and the hash of all up to it."""

    def __init__(self, path: Path, server: str) -> None:
        self.note = path.with_name(f"{path.name}.position")
        self.size = path.stat().st_size
        self.passed_over = 0
        self._server = server
        self._new = self.note.with_name(f"{self.note.name}.new")
        self._is_kept = True

    def try_out(self) -> None:
        """Find out whether a note can be written there. Without one, the list goes into the queue all the same."""
        with self._or_without():
            self._new.touch()
            self._new.unlink()

    def rest_of(self, jobs: Iterator[Listed]) -> Iterator[Listed]:
        """Yield the jobs after the position. Fail when the lines before it are not those of then."""
        if self.note.exists():
            line, digest = self._read()
            reached = next((listed for listed in jobs if listed.line >= line), None)
            if reached is None or (reached.line, reached.digest) != (line, digest):
                self._refuse()
            self.passed_over = line
            warn(f"Lines up to {line} are in the queue already.")
        yield from jobs

    def set(self, listed: Listed) -> None:
        """Note that all jobs up to this one are in the queue."""
        if self._is_kept:
            noted = {"line": listed.line, "sha256": listed.digest, "server": self._server}
            with self._or_without():
                self._new.write_text(json.dumps(noted) + "\n")
                self._new.replace(self.note)

    def forget(self) -> None:
        """Remove the note, because all is done."""
        if self._is_kept:
            self.note.unlink(missing_ok=True)

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self._is_kept = False
            warn(f"{self.note} cannot be written: {problem.strerror}. Once interrupted, the list begins again.")

    def _read(self) -> tuple[int, str]:
        try:
            noted = json.loads(self.note.read_text())
            line, digest = int(noted["line"]), str(noted["sha256"])
            # Earlier versions did not note it.
            server = str(noted.get("server", self._server))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._refuse()
        if server != self._server:
            fail(f"{self.note} is of the queue at {server}: remove that file to begin the list at {self._server}.")
        return line, digest

    def _refuse(self) -> NoReturn:
        fail(f"The list has changed since {self.note} was written: remove that file to begin the list again.")


def _position_of(path: Path, server: str) -> Position | None:
    """Return the position of a list, or None for a pipe, which gives nothing a second time."""
    return Position(path, server) if path.is_file() else None


async def _enqueue(server: str, jobs: Iterator[Listed], position: Position | None) -> str:
    """Enqueue the jobs, and return how many there were."""
    outcomes = Counter[str]()
    with progress_bar(_ENQUEUED, position.size if position else None, counts=False) as bar:
        async with Producer(server, timeout=TIMEOUT) as producer:
            taken = _Taken(producer, outcomes, position, bar)
            while True:
                step, problem = _step(jobs)
                await taken.all_of(step)
                if problem:
                    fail(f"{problem}. The jobs before that line are in the queue.")
                if not step:
                    break
    told = ", ".join(f"{count} {word}" for word, count in sorted(outcomes.items()))
    nothing = "nothing was left" if position and position.passed_over else "the list is empty"
    return f"{sum(outcomes.values())} jobs: {told or nothing}"


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

    def __init__(self, producer: Producer, outcomes: Counter[str], position: Position | None, bar: Bar) -> None:
        self._producer = producer
        self._outcomes = outcomes
        self._position = position
        self._bar = bar
        self._has_waited = False
        self._size = 0

    async def all_of(self, step: Sequence[Listed]) -> None:
        """Enqueue the jobs. Fail at the first that the queue refuses; those before it are in the queue."""
        if not step:
            return
        try:
            answers = await self._answers_to(step)
        except InvalidJob as refusal:
            if len(step) == 1:
                why = str(refusal).removeprefix("jobs[0]: ")
                fail(f"Line {step[0].line} is refused: {why}. The jobs before that line are in the queue.")
            half = len(step) // 2
            await self.all_of(step[:half])
            await self.all_of(step[half:])
            return
        words = words_of(EnqueueOutcome.DESCRIPTOR)
        self._outcomes.update(words.get(answer.outcome, str(answer.outcome)).lower() for answer in answers)
        if self._position:
            self._position.set(step[-1])
        self._bar.advance(step[-1].size - self._size)
        self._size = step[-1].size

    async def _answers_to(self, step: Sequence[Listed]) -> list[Enqueued]:
        """Enqueue the jobs, and wait as long as the server says when it takes more."""
        while True:
            try:
                return await self._producer.enqueue([listed.job for listed in step])
            except Unavailable as refusal:
                if refusal.retry_after is None:
                    raise
                if not self._has_waited:
                    self._has_waited = True
                    warn(f"The list waits for the server: {refusal}")
                self._bar.describe("waiting")
                await asyncio.sleep(refusal.retry_after)
                self._bar.describe(_ENQUEUED)
