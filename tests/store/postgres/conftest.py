"""Connections of tests that make databases and roles of their own."""

from collections.abc import AsyncIterator

import asyncpg
import pytest


@pytest.fixture
async def server(postgres: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres)
    yield connection
    await connection.close()
