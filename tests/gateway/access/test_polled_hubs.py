"""Connections to the hubs that are polled: what they may see is asked for with each request."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.gateway.access.test_keys import Guarded, guarded
from tests.gateway.access.test_tickets import status, ticket_of
from tests.support.service.keys import bearer, revoke

PING = '{"type":6}\x1e'
HELLO = '{"protocol":"json","version":1}\x1e'
JOIN_ALL = '{"type":1,"target":"JoinAllModelsGroup","arguments":[]}\x1e'

LARGEST_ID = 2**63 - 1
JOIN_LARGEST = f'{{"type":1,"invocationId":"1","target":"JoinModelGroup","arguments":["{LARGEST_ID}"]}}\x1e'


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[Guarded]:
    async with guarded(database_url) as queue:
        yield queue


async def polled(queue: Guarded, credential: str) -> str:
    """The address of a connection to the hub of pages that was opened with a key or a ticket, and is polled."""
    negotiate = "/thumbnailHub/negotiate?negotiateVersion=1"
    async with queue.http.post(negotiate, headers=bearer(credential)) as response:
        address = f"/thumbnailHub?id={(await response.json())['connectionToken']}"
    assert await status(queue, "GET", address, credential) == 200
    assert await status(queue, "POST", address, credential, data=HELLO) == 200
    return address


async def test_a_connection_that_is_polled_is_for_its_own_key_and_for_no_fewer_models(queue):
    viewer = queue.keys["viewer"]
    address = await polled(queue, viewer)
    assert await status(queue, "POST", address, viewer, data=JOIN_ALL) == 200
    tickets = [await ticket_of(queue, role, modelIds=[7]) for role in ("viewer", "admin")]
    for other in (*tickets, queue.keys["admin"]):
        assert await status(queue, "GET", address, other) == 404
        assert await status(queue, "POST", address, other, data=PING) == 404
    assert await status(queue, "POST", address, viewer, data=PING) == 200
    await revoke(queue.admins, viewer)
    async with asyncio.timeout(60):
        while await status(queue, "POST", address, viewer, data=PING) != 401:
            await asyncio.sleep(0.05)
    assert await status(queue, "GET", address, tickets[1]) == 404


async def test_a_ticket_for_the_model_with_the_largest_id_lets_a_page_join_it(queue):
    ticket = await ticket_of(queue, modelIds=[LARGEST_ID])
    address = await polled(queue, ticket)
    assert await status(queue, "POST", address, ticket, data=JOIN_LARGEST) == 200
    told = ""
    while '"type":3' not in told:
        async with queue.http.get(address, headers=bearer(ticket)) as response:
            told += await response.text()
    assert f'"modelId":"{LARGEST_ID}"' in told
    assert "error" not in told.replace("errorMessage", "")


async def test_a_connection_that_is_polled_goes_on_with_a_newer_ticket_for_its_models(queue):
    address = await polled(queue, await ticket_of(queue, modelIds=[7, 8]))
    for models, expected in (([7, 8], 200), ([7, 8, 9], 200), ([7], 404), ([8, 9], 404)):
        newer = await ticket_of(queue, modelIds=models)
        assert await status(queue, "POST", address, newer, data=PING) == expected, models
