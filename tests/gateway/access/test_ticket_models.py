"""The models of a ticket: those that are named, or all where all are asked for, and never all because none is named."""

from typing import Any

import pytest

from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.service.keys import bearer
from thumbq import Client
from thumbq.client.errors import InvalidRequest


async def asked(queue: Guarded, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The status and the answer for who asks for a ticket."""
    async with queue.http.post("/api/tickets", json=fields, headers=bearer(queue.keys["viewer"])) as response:
        return response.status, await response.json()


async def statuses(queue: Guarded, ticket: str) -> list[int]:
    """How the gateway answers for model 7, for model 8 and for what concerns all models."""
    paths = "/models/7/thumbnail", "/models/8/thumbnail", "/model-versions/5/thumbnail"
    return [await queue.status("GET", f"{path}?ticket={ticket}") for path in paths]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "modelIds must name a model, or allModels must be true"),
        ({"modelIds": []}, "modelIds must name a model, or allModels must be true"),
        ({"modelIds": [], "allModels": False}, "modelIds must name a model, or allModels must be true"),
        ({"modelIds": [7], "allModels": True}, "a ticket is for modelIds or for allModels, not for both"),
    ],
)
async def test_a_ticket_for_no_model_is_refused(database_url: str, fields: dict[str, Any], why: str) -> None:
    async with guarded(database_url) as queue:
        status, answer = await asked(queue, **fields)
        assert (status, why in str(answer)) == (400, True), answer


async def test_a_ticket_is_for_all_models_where_all_are_asked_for(database_url: str) -> None:
    async with guarded(database_url) as queue:
        _, answer = await asked(queue, allModels=True)
        assert await statuses(queue, answer["ticket"]) == [200, 200, 200]
        _, answer = await asked(queue, modelIds=[7])
        assert await statuses(queue, answer["ticket"]) == [200, 403, 403]


async def test_python_asks_for_all_models_by_name(database_url: str) -> None:
    async with guarded(database_url) as queue, Client(queue.server, api_key=queue.keys["viewer"]) as client:
        owned: list[int] = []
        with pytest.raises(InvalidRequest, match="modelIds must name a model"):
            await client.create_ticket(owned)
        with pytest.raises(InvalidRequest, match="not for both"):
            await client.create_ticket([7], all_models=True)
        assert await statuses(queue, await client.create_ticket([7])) == [200, 403, 403]
        assert await statuses(queue, await client.create_ticket(all_models=True)) == [200, 200, 200]
