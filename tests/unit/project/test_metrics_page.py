"""docs/metrics.md describes every metric of every program, and no other."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/metrics.md").read_text()
# Labels that would grow with the queue.
UNBOUNDED = {"worker", "worker_id", "model", "model_id", "job", "job_id", "session", "path"}


def test_the_page_is_made_from_the_declarations() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts/metrics_table.py"], check=True, capture_output=True)
    assert made.stdout.decode() == PAGE, "run `make metrics`"


def test_no_label_grows_with_the_queue() -> None:
    rows = re.findall(r"^\| `thumbq_\w+` \| \w+ \| ([^|]*) \|", PAGE, re.MULTILINE)
    assert len(rows) > 30
    assert not {label for row in rows for label in re.findall(r"`(\w+)`", row)} & UNBOUNDED


def test_every_query_of_the_page_names_metrics_that_exist() -> None:
    described = set(re.findall(r"^\| `(thumbq_\w+)` \|", PAGE, re.MULTILINE))
    queried = set(re.findall(r"thumbq_\w+", PAGE.partition("## The server")[0]))
    assert {re.sub(r"_(sum|count|bucket)$", "", name) for name in queried} <= described
