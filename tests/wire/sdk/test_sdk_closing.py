"""A client that is closed, or could not be opened, leaves nobody waiting and no thread behind."""

import asyncio
import threading
from pathlib import Path

import pytest

from tests.support.network.ports import free_port
from tests.support.waiting import eventually
from thumbq import BlockingClient, Unavailable
from thumbq.connection import UnreadableKey


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "thumbq-client"}


async def test_a_call_that_waits_for_a_server_ends_when_another_thread_closes_the_client():
    before = threads()
    client = BlockingClient(f"127.0.0.1:{free_port()}", timeout=3600)

    def ask() -> None:
        with pytest.raises(Unavailable, match="the client was closed"):
            client.job(1)

    call = asyncio.ensure_future(asyncio.to_thread(ask))

    async def has_ended() -> bool:
        # A call that begins after this opens the client again.
        await asyncio.to_thread(client.close)
        return call.done()

    await eventually(has_ended)
    await call
    assert threads() == before


def test_a_client_that_cannot_be_opened_leaves_no_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    before = threads()
    monkeypatch.delenv("THUMBQ_API_KEY", raising=False)
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(tmp_path / "no-key"))
    client = BlockingClient("127.0.0.1:1")
    with pytest.raises(UnreadableKey):
        client.job(1)
    assert threads() == before
    client.close()
