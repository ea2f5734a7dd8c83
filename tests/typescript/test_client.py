"""The tests in clients/typescript/tests. Each one runs in its own node, against its own service if it needs one."""

from pathlib import Path

import pytest

from tests.support.service.service import Service
from tests.typescript.compiler import sentences_of
from tests.typescript.conftest import RunTest, node


@pytest.mark.parametrize("name", ["event_stream", "stream", "back_off", "credentials"])
async def test_what_needs_no_service(compiled_tests: Path, name: str) -> None:
    await node(compiled_tests / f"{name}.test.js", {})


@pytest.mark.parametrize("sentence", sentences_of("api"))
async def test_the_json_client(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("api", sentence)


@pytest.mark.parametrize("sentence", sentences_of("subscribe"))
async def test_subscribe(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("subscribe", sentence)


@pytest.mark.parametrize("sentence", sentences_of("subscribe_refused"))
async def test_a_subscription_that_is_refused(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("subscribe_refused", sentence)


@pytest.mark.parametrize("sentence", sentences_of("follow"))
async def test_follow(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("follow", sentence)


@pytest.mark.parametrize("sentence", sentences_of("follow_changes"))
async def test_follow_changes(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("follow_changes", sentence)


@pytest.mark.parametrize("sentence", sentences_of("tickets"))
async def test_tickets(run_in_node: RunTest, sentence: str) -> None:
    await run_in_node("tickets", sentence)


async def test_a_caller_that_is_refused_comes_back(compiled_tests: Path, database_url: str, tmp_path: Path) -> None:
    async with Service.started(database_url, tmp_path, rate_of_reads=2) as service:
        await node(compiled_tests / "rates.test.js", {"THUMBQ_URL": service.url})
