"""`thumbq keys` against a real server."""

import asyncio
import json
import os
import stat

from tests.support.commands import command
from tests.support.postgres.databases import for_programs
from tests.support.service.keys import prefix_of
from tests.support.service.served import THUMBQ
from tests.support.waiting import eventually


async def thumbq(*arguments: str, **variables: str) -> tuple[int, str]:
    """Return the exit code of a command and all its output."""
    ended = await command(*arguments, variables=variables, together=True)
    return ended.code, ended.output


async def test_keys_are_made_listed_and_revoked(server, tmp_path):
    at = ("--server", server)
    code, admin = await thumbq("keys", "create", "--role", "admin", "--name", "on call", *at)
    assert code == 0
    code, said = await thumbq("keys", "list", *at)
    assert (code, "needs an API key" in said) == (1, True)

    file = tmp_path / "admin.key"
    file.touch(stat.S_IRUSR | stat.S_IWUSR)
    file.write_text(admin)
    key = {"THUMBQ_API_KEY_FILE": str(file)}
    made = ("keys", "create", "--role", "worker", "--name", "farm", "--expires-in", "90d", *at)
    code, worker = await thumbq(*made, **key)
    assert code == 0
    code, listed = await thumbq("keys", "list", "--json", *at, **key)
    assert [(one["role"], one["name"]) for one in json.loads(listed)] == [
        ("Admin", "on call"),
        ("Worker", "farm"),
    ]
    assert worker.strip() not in listed

    revoked = await thumbq("keys", "revoke", prefix_of(worker), *at, **key)
    assert revoked == (0, f"The key {prefix_of(worker)} (farm) is revoked.\n")
    assert await thumbq("keys", "revoke", worker.strip(), *at, **key) == revoked
    code, listed = await thumbq("keys", "list", *at, **key)
    assert "revoked at" in listed
    code, said = await thumbq("stats", *at, THUMBQ_API_KEY=worker.strip())
    assert (code, "not valid" in said) == (1, True)


async def test_what_makes_no_sense_is_refused_in_a_sentence(server):
    at = ("--server", server)
    assert await thumbq("keys", "create", "--role", "worker", "--name", "farm", *at) == (
        1,
        "thumbq: The first key must be an admin's: from then on, every call needs a key.\n",
    )
    code, said = await thumbq("keys", "create", "--role", "admin", "--name", "x", "--expires-in", "soon", *at)
    assert (code, said) == (1, "thumbq: 'soon' is no time: write 90d, 12h, 30m or 20s.\n")


async def test_the_first_key_may_be_written_into_the_database(database_url):
    written = "keys", "create", "--database", "--role", "admin", "--name", "first"
    code, key = await thumbq(*written, **for_programs(database_url))
    assert (code, key.startswith("tq_")) == (0, True)


async def test_a_key_without_any_time_to_live_is_refused_wherever_it_is_made(server, database_url):
    made = "keys", "create", "--role", "admin", "--name", "first", "--expires-in", "0d"
    assert await thumbq(*made, "--server", server) == (
        1,
        "thumbq: expiresAfter must be between one second and ten years\n",
    )
    assert await thumbq(*made, "--database", **for_programs(database_url)) == (
        2,
        "thumbq keys: expiresAfter must be between one second and ten years\n",
    )


async def onto_a_full_disk(*arguments: str, **variables: str) -> tuple[int | None, str]:
    """Return the exit code of a command whose output cannot be written, and its errors."""
    shell = ["sh", "-c", 'exec "$0" "$@" >/dev/full', str(THUMBQ), *arguments]
    ended = await asyncio.create_subprocess_exec(
        *shell, env={**os.environ, **variables}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await ended.communicate()
    return ended.returncode, " ".join(errors.decode().split())


async def test_a_key_that_cannot_be_written_is_revoked(server, database_url):
    create = "keys", "create", "--role", "admin", "--name"
    at, database = ("--server", server), for_programs(database_url)
    lost = "The key cannot be written and is revoked: No space left on device. Make another one"
    by_server = 1, f"thumbq: {lost}, with --database if this was the first."
    assert await onto_a_full_disk(*create, "first", *at) == by_server
    assert await onto_a_full_disk(*create, "second", "--database", **database) == (1, f"thumbq keys: {lost}.")
    _, third = await thumbq(*create, "third", "--database", **database)
    key = {"THUMBQ_API_KEY": third.strip()}
    await eventually(lambda: has_come(at, key))
    assert await onto_a_full_disk(*create, "fourth", *at, **key) == by_server
    _, listed = await thumbq("keys", "list", "--json", *at, **key)
    assert [one["name"] for one in json.loads(listed) if one["revokedAt"]] == ["first", "second", "fourth"]


async def has_come(at: tuple[str, str], key: dict[str, str]) -> bool:
    """Return whether a server knows a key that was written into its database."""
    code, _ = await thumbq("stats", *at, **key)
    return code == 0
