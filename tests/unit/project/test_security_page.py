"""docs/security.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+\.py)`", (ROOT / "docs/security.md").read_text()))
    assert len(named) > 10
    assert not [path for path in named if not (ROOT / path).is_file()]
