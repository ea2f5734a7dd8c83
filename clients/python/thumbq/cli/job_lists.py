"""Lists of jobs in files: CSV with a header, or a JSON object a line, in the words of the JSON routes."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from google.protobuf.json_format import ParseDict, ParseError

from thumbq.v1.queue_pb2 import NewJob

_BOOLEANS = {"true": True, "false": False}


class InvalidLine(Exception):
    """Says which line cannot be a job, and why."""


class Listed(NamedTuple):
    """A job, the last line that it stands on, and the hash and the size of the file up to there."""

    job: NewJob
    line: int
    digest: str
    size: int


def read_list(file: TextIO, name: str) -> Iterator[Listed]:
    """Yield the jobs of a list, whose name ends in .csv or not. Raises InvalidLine."""
    lines = _Lines(file)
    rows = _csv_rows(lines) if Path(name).suffix.lower() == ".csv" else _json_rows(lines)
    try:
        for row in rows:
            yield Listed(_job(row), lines.count, lines.digest, lines.size)
    except UnicodeDecodeError:
        raise InvalidLine(f"{name} is not UTF-8 after line {lines.count}") from None
    except (ParseError, ValueError, csv.Error) as problem:
        raise InvalidLine(f"Line {lines.count} of {name} is no job: {problem}") from None


class _Lines:
    """The lines of a file, counted, hashed and measured as they are read."""

    def __init__(self, file: TextIO) -> None:
        self.count = 0
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            content = line.encode()
            self.count += 1
            self.size += len(content)
            self._hash.update(content)
            yield line


def _json_rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
            yield row


def _csv_rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for row in csv.DictReader(lines, strict=True):
        if None in row or None in row.values():
            raise ValueError("it has another number of cells than the first line")
        yield {name.strip(): _cell(cell.strip()) for name, cell in row.items() if cell.strip()}


def _cell(text: str) -> Any:
    if text.startswith(("{", "[")):
        return json.loads(text)
    return _BOOLEANS.get(text.lower(), text)


def _job(row: dict[str, Any]) -> NewJob:
    return ParseDict(row, NewJob())
