"""Lists of jobs in files: CSV with a header, or a JSON object a line, in the words of the JSON routes."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TextIO

from google.protobuf.json_format import ParseDict, ParseError

from thumbq.options import check_exact
from thumbq.v1.queue_pb2 import NewJob

_BOOLEANS = {"true": True, "false": False}
# Spreadsheets put it before the first line.
_BYTE_ORDER_MARK = "\ufeff"
_HEADINGS = re.compile(r"[^{\[]*model_?id", re.IGNORECASE)
# Each field has two names in JSON.
_JSON_NAMES = {field.name: field.json_name for field in NewJob.DESCRIPTOR.fields}
_WHOLE = {
    name
    for field in NewJob.DESCRIPTOR.fields
    if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
    for name in (field.name, field.json_name)
}
# Spreadsheets and programs that lack some numbers of a column write the others with ".0".
_WHOLE_NUMBER = re.compile(r"(-?[0-9]+)(?:\.0+)?")


class InvalidLine(Exception):
    """Says which line cannot be a job, and why."""


class Listed(NamedTuple):
    """A job, the last line that it stands on, and the hash and the size of the file up to there."""

    job: NewJob
    line: int
    digest: str
    size: int


def read_list(file: BinaryIO, name: str) -> Iterator[Listed]:
    """Yield the jobs of a list. Raises InvalidLine.

    It is CSV if its name ends in .csv, or its first line holds headings.
    """
    # A byte that is no UTF-8 comes as a surrogate, within its own line.
    counted = _Lines(io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline=""))
    lines = iter(counted)
    try:
        first = next(lines, "")
        is_csv = Path(name).suffix.lower() == ".csv" or _HEADINGS.match(first)
        for row in (_csv_rows if is_csv else _json_rows)(chain([first], lines)):
            yield Listed(_job(row), counted.count, counted.digest, counted.size)
    except (ParseError, ValueError) as problem:
        raise InvalidLine(f"Line {counted.count} of {name} is no job: {problem}") from None


def parse_json(text: str) -> Any:
    """Return what a text in JSON says. Raises ValueError, also for what JSON leaves open: a name that stands twice.

    No number is rounded to a whole one.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it has too many levels") from None


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
            self.count += 1
            try:
                content = line.encode()
            except UnicodeEncodeError:
                raise ValueError("it is not UTF-8") from None
            self.size += len(content)
            self._hash.update(content)
            yield line.removeprefix(_BYTE_ORDER_MARK) if self.count == 1 else line


def _json_rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():
            row = parse_json(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
            yield row


def _csv_rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    rows = _csv_cells(lines)
    names = [name.strip() for name in next(rows, ())]
    # A spreadsheet may have columns without a heading and without cells.
    _refuse_twice(filter(None, names))
    for row in rows:
        if len(row) != len(names):
            raise ValueError("it has another number of cells than the first line")
        yield {name: _cell(cell.strip()) for name, cell in zip(names, row, strict=True) if cell.strip()}


def _csv_cells(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the cells of each row that has any: spreadsheets write commas for their empty rows."""
    rest = iter(lines)
    headings = next(rest, "")
    # Where a comma stands within numbers, spreadsheets write semicolons between cells.
    delimiter = ";" if ";" in headings else ","
    rows = csv.reader(chain([headings], rest), delimiter=delimiter, strict=True)
    began = 1
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield row
            began = rows.line_num + 1
    except csv.Error as problem:
        # A quotation mark that is not closed takes in the lines after it.
        where = f"; its row begins at line {began}" if rows.line_num > began else ""
        raise ValueError(f"{problem}{where}") from None


def _cell(text: str) -> Any:
    if text.startswith(("{", "[")):
        return parse_json(text)
    return _BOOLEANS.get(text.lower(), text)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice(name for name, _ in members)
    return dict(members)


def _refuse_twice(names: Iterable[str]) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{twice[0]} stands there twice")


def _number(text: str) -> float | int:
    """Return the number that a text with a point or an exponent names."""
    number = float(text)
    if not number.is_integer():
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:  # its exponent has too many digits
        exact = Decimal("NaN")
    if exact == number:
        return number
    if exact == exact.to_integral_value():
        return int(exact)
    raise ValueError(f"{text} would be rounded to a whole number")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _job(row: dict[str, Any]) -> NewJob:
    for name in row:
        if name not in _JSON_NAMES and name not in _JSON_NAMES.values():
            raise ValueError(f"there is no field {name!r}: the fields are {', '.join(_JSON_NAMES.values())}")
    _refuse_twice(_JSON_NAMES.get(name, name) for name in row)
    check_exact(row.get("options"))
    return ParseDict({name: _whole(name, value) if name in _WHOLE else value for name, value in row.items()}, NewJob())


def _whole(name: str, value: Any) -> Any:
    """Return the number in a text. ParseDict would round one with a point, and take one with underscores."""
    if not isinstance(value, str):
        return value
    if not (form := _WHOLE_NUMBER.fullmatch(value)):
        raise ValueError(f"{name} is no whole number")
    return int(form[1])
