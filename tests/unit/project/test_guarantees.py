"""Each promise in docs/guarantees.md names tests, and the tests exist."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "guarantees.md").read_text()
PROMISES, _, NOT_PROMISED = PAGE.partition("## What is not promised")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises() -> list[str]:
    return [item.strip() for item in re.split(r"^- ", PROMISES, flags=re.MULTILINE)[1:]]


def names_in(file: str) -> set[str]:
    tree = ast.parse((PROJECT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("promise", promises(), ids=lambda text: " ".join(text.split()[:8]))
def test_a_promise_names_its_tests(promise: str) -> None:
    assert "`chaos`" in promise or TEST.search(promise)


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_named_test_exists(file: str, name: str) -> None:
    assert (PROJECT / file).is_file()
    assert name in names_in(file)


def test_the_page_says_what_is_not_promised() -> None:
    assert len(promises()) > 40
    assert NOT_PROMISED.count("\n- ") > 5
