"""docs/logs.md describes every event that the programs log, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = ("server", "gateway", "clients/python")
LEVELS = {"debug", "info", "warning", "error", "exception", "failure"}
LOGGED, NAMED = re.compile(r"[a-z]+(\.[a-z_]+)?$"), re.compile(r"[a-z]+\.[a-z_]+$")


def test_every_event_is_on_the_page_and_the_page_names_no_other() -> None:
    page = (ROOT / "docs/logs.md").read_text()
    described = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)
    assert described == sorted(set(described)), "the table is in the order of the alphabet, each event once"
    assert set(described) == {event for tree in trees() for event in events(tree)}


def test_every_line_of_the_sdk_has_an_event() -> None:
    for tree in trees():
        for call in calls(tree):
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "_logger":
                assert "extra" in {keyword.arg for keyword in call.keywords}, ast.unparse(call)


def trees() -> Iterator[ast.AST]:
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            if "/v1/" not in str(path):
                yield ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def events(tree: ast.AST) -> Iterator[str]:
    """Yield what is logged: the first argument of a call, or the value of "event" in what goes beside a sentence."""
    for call in calls(tree):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        arguments = [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]
        if name in LEVELS:
            yield from filter(LOGGED.match, arguments[:1])
        # the page's stream has events, too, whose names have no dot
        elif name in {"event", "RateLimitedLog", "warning_as_json"}:
            yield from filter(NAMED.match, arguments[:1])
        elif name == "getattr" and arguments[:1] == ["event"]:
            yield arguments[1]
        yield from (ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "failure")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "event" and isinstance(value, ast.Constant):
                    yield str(value.value)
