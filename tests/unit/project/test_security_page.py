"""docs/security.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text()


def test_every_test_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+\.py)`", PAGE))
    assert len(named) > 10
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_every_test_of_the_renderer_that_the_page_names_is_there() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests/render").glob("*/test_*.py")}
    named = set(re.findall(r"`(test_[^`:]+\.py)::(test_[^`]+)`", PAGE))
    assert len(named) > 10
    assert not [(file, test) for file, test in named if f"def {test}(" not in files.get(file, "")]
