"""How PostgreSQL itself is, as far as the role of a server may see it."""

import asyncpg

from tests.support.postgres.databases import new_role
from thumbq_server.storage.reads.condition import CONDITION


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
