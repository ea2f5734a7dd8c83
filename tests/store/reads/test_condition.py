"""How PostgreSQL itself is, as far as the role of a server may see it."""

import asyncio

import asyncpg

from tests.support.postgres.databases import new_role
from tests.support.waiting import eventually
from thumbq_server.storage.reads.condition import CONDITION, read_condition


async def test_the_transactions_of_other_roles_are_seen_with_a_grant_only(database_url):
    other = await asyncpg.connect(database_url)
    async with new_role(other, database_url) as (name, as_role):
        plain = await asyncpg.connect(as_role)
        assert {row["oldest"] for row in await plain.fetch(CONDITION.text)} == {None}
        await other.execute(f"GRANT pg_monitor TO {name}")
        assert {row["oldest"] for row in await plain.fetch(CONDITION.text)} == {0}
        async with other.transaction():
            await other.execute("SELECT 1")
            (oldest,) = {row["oldest"] for row in await plain.fetch(CONDITION.text)}
            assert oldest > 0
        await plain.close()
    await other.close()


async def test_every_role_sees_how_many_sessions_wait_for_a_lock_and_for_how_long(database, database_url):
    holder, waiter = [await asyncpg.connect(database.dsn) for _ in range(2)]
    async with new_role(holder, database.dsn) as (_, as_role):
        plain = await asyncpg.connect(as_role)

        async def waits() -> tuple[int, float]:
            ((count, longest),) = {
                (row["lock_waits"], row["longest_lock_wait"]) for row in await plain.fetch(CONDITION.text)
            }
            return count, longest

        assert await waits() == (0, 0)
        async with holder.transaction():
            await holder.execute("UPDATE queue_head SET seq = seq")
            waiting = asyncio.create_task(waiter.execute("UPDATE queue_head SET seq = seq"))

            async def has_waited() -> bool:
                count, longest = await waits()
                return count == 1 and longest > 0

            await eventually(has_waited)
            _, before = await waits()
            assert (await read_condition(database)).longest_lock_wait > before
        await waiting
        assert await waits() == (0, 0)
        await plain.close()
    for connection in (holder, waiter):
        await connection.close()
