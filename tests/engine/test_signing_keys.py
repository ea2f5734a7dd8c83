"""The keys that sign tickets renew themselves, and no ticket becomes invalid by that."""

from thumbq_runtime.access.tickets import key_id_of, read
from thumbq_server.access.keyring import Keyring
from thumbq_server.access.tickets import Tickets
from thumbq_server.storage.postgres.database import Database

HOUR = "interval '1 hour'"


async def grow_older(database: Database, hours: int) -> None:
    await database.fetch(f"UPDATE signing_keys SET created_at = created_at - {hours} * {HOUR}")


async def test_a_key_is_replaced_after_a_day_and_goes_when_its_last_ticket_is_over(database: Database) -> None:
    servers = [Tickets(database, Keyring(database, None)) for _ in range(2)]
    for server in servers:
        await server.look()
    (first,) = servers[0].public_keys()
    assert servers[1].public_keys() == [first]

    ticket, _ = servers[0].create("", frozenset({7}), 3600)
    await grow_older(database, 25)
    assert await servers[0]() == 0
    second, old = servers[0].public_keys()
    assert old == first
    await servers[1].look()
    for server in servers:
        # A gateway may not know the new key yet, so the old one still signs. It is valid everywhere.
        assert key_id_of(server.create("", None, 60)[0]) == first[0]
        made = read(ticket, dict(server.public_keys()).get)
        assert made is not None
        assert made.model_ids == frozenset({7})

    await grow_older(database, 1)
    await servers[1].look()
    assert key_id_of(servers[1].create("", None, 60)[0]) == second[0]
    await grow_older(database, 24)
    assert await servers[1]() == 1
    await servers[1].look()
    third, last = servers[1].public_keys()
    assert last == second
    assert third != first
