"""`thumbq db` before, during and after an upgrade, and servers on tables of other versions."""

import asyncio
import json
import os

import asyncpg
import pytest

from tests.support.service.served import THUMBQ
from tests.support.service.server import running_server
from tests.support.terminal import on_terminal
from thumbq.producer import Producer
from thumbq.v1.queue_pb2 import NewJob
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.migrations.state import OLDEST_CODE
from thumbq_server.storage.postgres.suitability import Unsuitable

pytestmark = pytest.mark.timeout(400)
NEWER = "9999"


async def db(url, *arguments, **variables):
    """Return the exit code of a `thumbq db` command, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        THUMBQ,
        "db",
        *arguments,
        env={**os.environ, "DATABASE_URL": url, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def check(url):
    code, output = await db(url, "check", "--json")
    return code, json.loads(output)


async def become_newer(url, oldest_code):
    """Make the tables those of a later version, which works with code from this revision on."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"UPDATE thumbq_version SET version_num = '{NEWER}'")
    await connection.execute("ALTER TABLE queue_head ADD COLUMN of_a_later_version bigint NOT NULL DEFAULT 0")
    await connection.execute(f"COMMENT ON TABLE thumbq_version IS 'works with thumbq from revision {oldest_code}'")
    await connection.close()


async def enqueues(url):
    async with running_server(url) as address, Producer(address) as producer:
        return (await producer.enqueue([NewJob(model_id=1, model_hash="ab" * 32)]))[0].job_id


async def test_an_empty_database_is_told_made_and_then_current(empty_database_url):
    code, found = await check(empty_database_url)
    assert (code, found["state"], found["found"]) == (1, "Empty", None)
    code, output = await db(empty_database_url, "upgrade")
    assert (code, output) == (0, f"The tables are of revision {found['wanted']} now (before: none).\n")
    code, after = await check(empty_database_url)
    assert (code, after["state"], after["oldestCode"]) == (0, "Current", OLDEST_CODE)
    code, output = await db(empty_database_url, "upgrade")
    assert (code, output) == (0, f"Nothing to do. {after['sentence']}\n")


async def test_it_looks_at_the_database_that_thumbq_serve_would_use(empty_database_url):
    other = "postgresql://postgres@127.0.0.1:1/of_another_program"
    code, output = await db(other, "check", THUMBQ_DATABASE_URL=empty_database_url)
    assert (code, output.startswith("The database has no tables of thumbq yet")) == (1, True)


async def test_older_tables_are_renewed_by_the_command_or_by_a_server(empty_database_url):
    await upgrade(empty_database_url, "0004")
    code, found = await check(empty_database_url)
    assert (code, found["state"], found["found"]) == (1, "Older", "0004")
    assert await enqueues(empty_database_url)
    assert (await check(empty_database_url))[1]["state"] == "Current"


async def test_a_server_works_with_newer_tables_that_only_grew(database_url):
    wanted = (await check(database_url))[1]["wanted"]
    await become_newer(database_url, wanted)
    code, found = await check(database_url)
    assert (code, found["state"], found["found"]) == (0, "Newer", NEWER)
    assert await enqueues(database_url)
    assert (await db(database_url, "upgrade"))[0] == 0
    assert (await check(database_url))[1]["found"] == NEWER


async def test_newer_tables_that_it_does_not_know_are_refused_with_the_way_out(database_url):
    await become_newer(database_url, "9998")
    code, found = await check(database_url)
    assert (code, found["state"]) == (2, "TooNew")
    assert found["sentence"].endswith("install the newer one, or restore the backup from before the upgrade.")
    assert await db(database_url, "upgrade") == (2, f"thumbq db: {found['sentence']}\n")
    with pytest.raises(Unsuitable, match="restore the backup"):
        await enqueues(database_url)


async def test_what_postgresql_says_cannot_paint_on_a_terminal():
    async def take(reader, writer):
        await reader.read(1024)
        said = b"SFATAL\0VFATAL\0C57P03\0Mstarting \x1b[31mup\0\0"
        writer.write(b"E" + (len(said) + 4).to_bytes(4) + said)
        writer.close()

    listening = await asyncio.start_server(take, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    code, output = await db(f"postgresql://postgres@127.0.0.1:{port}/thumbq?sslmode=disable", "check")
    assert (code, output.count("\n"), "\x1b" in output) == (1, 1, False)
    assert output.startswith("thumbq db: PostgreSQL cannot be reached: CannotConnectNowError: starting ")
    listening.close()


@pytest.mark.parametrize(
    "arguments", [("db", "upgrade"), ("keys", "create", "--role", "admin", "--name", "first", "--database")]
)
async def test_control_c_exits_with_130_and_says_nothing(arguments):
    asked = asyncio.Event()

    async def say_nothing(reader, writer):
        asked.set()
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"postgresql://postgres@127.0.0.1:{listening.sockets[0].getsockname()[1]}/thumbq"

    def interrupted(terminal):
        terminal.type("\x03")
        return terminal.ends()

    with on_terminal([THUMBQ, *arguments], variables={"DATABASE_URL": url}) as terminal:
        await asyncio.wait_for(asked.wait(), 120)
        code, shown = await asyncio.to_thread(interrupted, terminal)
    assert (code, shown) == (130, "^C")
    listening.close()


async def test_a_wrong_or_missing_address_is_a_sentence(tmp_path):
    code, output = await db(f"postgresql://postgres@/thumbq?host={tmp_path}", "check")
    assert (code, output.startswith("thumbq db: PostgreSQL cannot be reached: ")) == (1, True)
    code, output = await db("", "check")
    assert (code, output) == (
        2,
        "thumbq db: DATABASE_URL is not set (thumbq serve brings a PostgreSQL of its own)\n",
    )
