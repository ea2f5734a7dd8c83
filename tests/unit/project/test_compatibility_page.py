"""docs/compatibility.md names every method and event of the hubs, and its tests exist."""

import ast
import asyncio
import re
from pathlib import Path

import grpc
import pytest

from thumbq_gateway.metrics import Metrics
from thumbq_gateway.signalr.hubs.page_hub import PageHub
from thumbq_gateway.signalr.hubs.worker_hub import PATHS, WorkerHub, Workers

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "compatibility.md").read_text()
_, _, WENT_WRONG = PAGE.partition("## What went wrong in that queue, in real life")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def failures() -> list[str]:
    return [item.strip() for item in re.split(r"^- ", WENT_WRONG, flags=re.MULTILINE)[1:]]


def names_in(file: str) -> set[str]:
    tree = ast.parse((PROJECT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("failure", failures(), ids=lambda text: " ".join(text.split()[:8]))
def test_what_went_wrong_has_a_test(failure: str) -> None:
    assert TEST.search(failure)


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in names_in(file)


async def test_every_method_of_the_hubs_is_named() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        hubs = [PageHub(channel, Metrics().hubs, asyncio.Event().wait), *[WorkerHub(path, Workers()) for path in PATHS]]
    named = {name.lower() for name in re.findall(r"`(\w+)", PAGE)}
    for hub in hubs:
        assert hub.path in PAGE
        assert hub.method_names <= named
