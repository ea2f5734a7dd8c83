"""docs/security.md names tests for what it says of the renderer, and the tests exist."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
RENDERER = (PROJECT / "docs" / "security.md").read_text().partition("## The renderer")[2]
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
PROVEN = ("Files", "Walls", "The web", "Bounds", "Crashes")


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(RENDERER))))
def test_a_named_test_exists(file: str, name: str) -> None:
    tree = ast.parse((PROJECT / "tests" / "render" / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("heading", PROVEN)
def test_a_paragraph_of_promises_names_its_tests(heading: str) -> None:
    (paragraph,) = re.findall(rf"^\*\*{heading}\.\*\* .*?(?=^\*\*|\Z)", RENDERER, re.DOTALL | re.MULTILINE)
    assert TEST.search(paragraph)
