"""The pages about security name tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text()
PROMISE = (ROOT / "SECURITY.md").read_text()


def test_every_test_file_that_the_pages_name_is_there() -> None:
    named = set(re.findall(r"\b(tests/[\w/]+\.py)\b", PAGE + PROMISE))
    assert len(named) > 40
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:tests/[\w/]*/)?test_\w+\.py)::(test_\w+)`", PAGE))
    assert len(named) > 10
    assert not [(file, test) for file, test in named if not is_there(file, test)]


def is_there(file: str, test: str) -> bool:
    """Whether a test is in a file, which may be named without its folders."""
    return any(f"def {test}(" in path.read_text() for path in (ROOT / "tests").rglob(file.removeprefix("tests/")))


def test_every_promise_has_a_test_beside_it() -> None:
    """A promise is an entry of the list in SECURITY.md, and a row of a table that has a column of tests."""
    entries = PROMISE.partition("## What thumbq protects")[2].split("\n- ")[1:]
    assert len(entries) > 5
    assert not [entry for entry in entries if "tests/" not in entry]
    tables = re.findall(r"^\|[^\n]*\| (?:shown by|test) \|\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", PAGE, re.MULTILINE)
    assert len(tables) > 4
    rows = [row for table in tables for row in table.splitlines()]
    assert not [row for row in rows if "tests/" not in row and "| the same |" not in row and "| not met" not in row]
