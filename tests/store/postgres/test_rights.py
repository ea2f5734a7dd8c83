"""A role that lacks rights is told which; those that are asked for are enough."""

import asyncio
import contextlib
import os
import sys
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.support.postgres.databases import database_at, new_database, new_role
from tests.support.service.server import running_server
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import NewJob
from thumbq_server.storage.migrations import schema_state, upgrade
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database

ENOUGH = 12

pytestmark = pytest.mark.sessions("asks what a role, a database and their limits are, of which a pooler has its own")


async def test_a_role_that_may_not_create_tables_is_told_the_grant(server, postgres):
    async with new_database(server, postgres) as address, new_role(server, address) as (name, as_role):
        with pytest.raises(Unsuitable, match=f"GRANT CREATE ON SCHEMA public TO {name}"):
            await check_database(as_role, ENOUGH)


NOT_OF_A_COLUMN = """
    SELECT relname FROM pg_class c WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i')
"""


@contextlib.asynccontextmanager
async def tables_of_another(server, postgres):
    """A connection to new tables as their owner, and the name and the address of a role that has no right on them."""
    async with new_role(server, postgres) as (name, as_role), new_database(server, postgres) as address:
        await upgrade(address)
        owner = await asyncpg.connect(address)
        yield owner, name, database_at(as_role, urlsplit(address).path[1:])
        await owner.close()


async def test_a_role_that_lacks_rights_on_tables_of_another_is_told_each_grant(server, postgres):
    async with tables_of_another(server, postgres) as (owner, name, as_role):
        for attempt in (upgrade, schema_state):
            with pytest.raises(Unsuitable, match=r"lacks rights on attempts, .*, thumbq_version, .*workers: GRANT"):
                await attempt(as_role)
        await owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        tables = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"
        with pytest.raises(Unsuitable, match=f": {tables}; GRANT USAGE"):
            await upgrade(as_role)
        await owner.execute(tables)
        sequences = f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}"
        with pytest.raises(Unsuitable, match=f"lacks rights on [^:]*: {sequences}") as found:
            await upgrade(as_role)
        for sequence in await owner.fetch(NOT_OF_A_COLUMN):
            assert sequence["relname"] in str(found.value)
        await owner.execute(sequences)
        assert (await upgrade(as_role)).fits
        await owner.execute(f"REVOKE INSERT ON keys FROM {name}")
        with pytest.raises(Unsuitable, match=f"The role {name} lacks rights on keys: {tables}."):
            await upgrade(as_role)


async def test_a_role_that_may_not_vacuum_is_warned(server, postgres):
    async with tables_of_another(server, postgres) as (owner, name, as_role):
        await owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        await owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
        with capture_logs() as lines:
            await upgrade(as_role)
        assert [(line["event"], line["role"]) for line in lines] == [("postgres.not_vacuumed", name)]
        await owner.execute(f"ALTER TABLE ready OWNER TO {name}; ALTER TABLE leases OWNER TO {name}")
        with capture_logs() as lines:
            await upgrade(as_role)
        assert lines == []


async def test_the_rights_that_are_asked_for_are_enough_to_serve(server, postgres):
    async with tables_of_another(server, postgres) as (owner, name, as_role):
        await owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        await owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
        async with running_server(as_role) as address, Producer(address) as producer:
            [job] = await producer.enqueue([NewJob(model_id=1, model_hash="ab" * 32)])
            assert job.job_id


async def test_the_rights_of_the_role_that_may_write_all_data_are_enough_to_serve(server, postgres):
    async with tables_of_another(server, postgres) as (owner, name, as_role):
        await owner.execute(f"GRANT pg_read_all_data, pg_write_all_data TO {name}")
        async with running_server(as_role) as address, Producer(address) as producer:
            [job] = await producer.enqueue([NewJob(model_id=1, model_hash="ab" * 32)])
            assert job.job_id


async def test_a_table_of_another_program_in_another_schema_is_not_judged(server, postgres):
    async with new_role(server, postgres) as (name, as_role), new_database(server, postgres) as address:
        owner = await asyncpg.connect(address)
        await owner.execute(f"CREATE TABLE jobs (id bigint); CREATE SCHEMA {name} AUTHORIZATION {name}")
        await owner.close()
        own = database_at(as_role, urlsplit(address).path[1:])
        assert not (await upgrade(own)).fits
        assert (await upgrade(own)).fits


async def test_a_function_that_a_role_may_not_call_is_one_sentence_at_the_start(server, postgres):
    async with new_role(server, postgres) as (_, as_role), new_database(server, postgres) as address:
        owner = await asyncpg.connect(address)
        await owner.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        await owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        await owner.close()
        variables = {"DATABASE_URL": database_at(as_role, urlsplit(address).path[1:]), "THUMBQ_GRPC_PORT": "0"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "thumbq_server", env=os.environ | variables, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == 2
        assert said.decode() == (
            "thumbq server: PostgreSQL does not permit the role of DATABASE_URL what thumbq needs: permission denied"
            " for function pg_control_system.\n"
        )
