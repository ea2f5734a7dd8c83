import pwd
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.support.postgres.databases import database_at, new_database, new_role
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.address import InvalidAddress, parse_address
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable, lacks_room
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database

ENOUGH = 12

pytestmark = pytest.mark.sessions("asks what a role, a database and their limits are, of which a pooler has its own")


async def test_a_plain_database_is_suitable(server, postgres):
    async with new_database(server, postgres) as address:
        await check_database(address, ENOUGH)


@pytest.mark.parametrize("options", ["ENCODING 'LATIN1'", "ENCODING 'SQL_ASCII'"], ids=["latin1", "no encoding"])
async def test_another_encoding_is_refused(server, postgres, options):
    options = f"TEMPLATE template0 {options} LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    async with new_database(server, postgres, options) as address:
        with pytest.raises(Unsuitable, match="ENCODING 'UTF8'"):
            await check_database(address, ENOUGH)


async def test_commits_that_a_crash_can_lose_are_refused(server, postgres):
    async with new_database(server, postgres) as address, new_role(server, address) as (name, as_role):
        await server.execute(f"ALTER ROLE {name} SET synchronous_commit = off")
        with pytest.raises(Unsuitable, match=f"synchronous_commit is off for {name}"):
            await check_database(as_role, ENOUGH)


async def test_a_limit_of_transactions_is_refused(server, postgres):
    if server.get_server_version().major < 17:
        return  # it has none
    async with new_database(server, postgres) as address:
        await server.execute(f"ALTER DATABASE {urlsplit(address).path[1:]} SET transaction_timeout = '2s'")
        with pytest.raises(Unsuitable, match=r"transaction_timeout is 2000 ms .* SET transaction_timeout = 0"):
            await check_database(address, ENOUGH)


async def test_a_search_path_without_a_schema_is_refused(server, postgres):
    async with new_database(server, postgres) as address:
        with pytest.raises(Unsuitable, match="finds no schema of its search_path"):
            await check_database(f"{address}{'&' if '?' in address else '?'}schema=nowhere", ENOUGH)


async def test_a_read_only_database_is_refused(server, postgres):
    async with new_database(server, postgres) as address, new_role(server, address) as (name, as_role):
        await server.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
        with pytest.raises(Unsuitable, match="takes no writes"):
            await check_database(as_role, ENOUGH)


async def test_options_that_postgres_does_not_know_are_refused(server, postgres):
    async with new_database(server, postgres) as address:
        parameter = f"{'&' if '?' in address else '?'}options=nonsense"
        with pytest.raises(Unsuitable, match="PostgreSQL refuses DATABASE_URL: invalid command-line argument"):
            await check_database(address + parameter, ENOUGH)


async def test_too_few_connections_are_refused(server, postgres):
    async with new_database(server, postgres) as address:
        with pytest.raises(Unsuitable, match=r"needs 100000 connections .* raise max_connections"):
            await check_database(address, 100_000)


async def test_a_database_that_is_not_there_is_named(postgres):
    with pytest.raises(Unsuitable, match='database "nowhere" does not exist'):
        await check_database(database_at(postgres, "nowhere"), ENOUGH)


async def test_a_role_that_is_not_there_is_named(server, postgres):
    parts = urlsplit(postgres)
    stranger = urlunsplit(parts._replace(netloc=f"stranger@{parts.netloc.rpartition('@')[2]}"))
    with pytest.raises(Unsuitable, match='role "stranger" does not exist'):
        await check_database(stranger, ENOUGH)


async def test_a_host_that_is_not_there_is_only_away(unused_tcp_port):
    with pytest.raises(Unavailable):
        await check_database(f"postgresql://queue@127.0.0.1:{unused_tcp_port}/thumbs", ENOUGH)


async def test_no_connection_left_is_an_outage_and_known_as_such(server, postgres, unused_tcp_port):
    """Another host, which is away, hides nothing; and an upgrade that finds no room waits as a check does."""
    async with new_database(server, postgres) as address, new_role(server, address) as (name, as_role):
        await server.execute(f"ALTER ROLE {name} CONNECTION LIMIT 0")
        place = parse_address(as_role)
        ((host, port),) = place.hosts
        hosts = f"{host.replace('/', '%2F')}:{port},127.0.0.1:{unused_tcp_port}"
        two_hosts = f"postgresql://{name}@{hosts}/{place.database}?sslmode=disable"
        for attempt in (check_database(as_role, ENOUGH), check_database(two_hosts, ENOUGH), upgrade(as_role)):
            with pytest.raises(Unavailable) as found:
                await attempt
            assert lacks_room(found.value)


async def test_an_address_that_cannot_be_read_is_refused():
    with pytest.raises(InvalidAddress):
        await check_database("mysql://db/thumbs", ENOUGH)


async def test_the_limits_of_a_role_and_of_a_database_are_known(server, postgres):
    async with new_database(server, postgres) as address, new_role(server, address) as (name, as_role):
        connection = await asyncpg.connect(address)
        await connection.execute(f"GRANT CREATE ON SCHEMA public TO {name}")
        await server.execute(f"ALTER ROLE {name} CONNECTION LIMIT 5")
        with pytest.raises(Unsuitable, match=f"ALTER ROLE {name} CONNECTION LIMIT {ENOUGH}"):
            await check_database(as_role, ENOUGH)
        await server.execute(f"ALTER ROLE {name} CONNECTION LIMIT -1")
        database = urlsplit(address).path[1:]
        await server.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 5")
        with pytest.raises(Unsuitable, match=f"ALTER DATABASE {database} CONNECTION LIMIT {ENOUGH}"):
            await check_database(as_role, ENOUGH)
        await check_database(address, ENOUGH)
        await connection.execute(f"REVOKE CREATE ON SCHEMA public FROM {name}")
        await connection.close()


async def test_a_missing_certificate_is_named(postgres):
    with pytest.raises(Unsuitable, match=r"sslrootcert=/nowhere/ca\.pem, and there is no such file"):
        await check_database("postgresql://db.example/thumbs?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", ENOUGH)


async def test_a_service_that_is_not_there_is_named(monkeypatch, tmp_path):
    services = tmp_path / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    with pytest.raises(Unsuitable, match=f"service thumbs, and {services} has none"):
        await check_database("service=thumbs", ENOUGH)
    services.write_text("[thumbs")
    with pytest.raises(Unsuitable, match=f"{services} cannot be read"):
        await check_database("service=thumbs", ENOUGH)


async def test_a_user_without_a_home_has_no_services_of_their_own(monkeypatch):
    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "PGSERVICEFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unsuitable, match=r"service thumbs, and ~/\.pg_service\.conf has none"):
        await check_database("service=thumbs", ENOUGH)


@pytest.mark.parametrize("variable", ["PGPORT=many", "PGHOST=a..b", "PGSSLMODE=nonsense"])
async def test_variables_of_libpq_that_cannot_be_used_are_refused(monkeypatch, variable):
    monkeypatch.setenv(*variable.split("="))
    with pytest.raises(Unsuitable, match=r"cannot be used|PostgreSQL refuses"):
        await check_database("postgresql:///thumbs", ENOUGH)


@pytest.mark.parametrize(
    "setting",
    ["default_transaction_isolation = 'serializable'", "lock_timeout = 1", "statement_timeout = 1"],
)
async def test_what_a_database_sets_for_its_sessions_does_not_count(server, postgres, setting):
    async with new_database(server, postgres) as address:
        await server.execute(f"ALTER DATABASE {urlsplit(address).path[1:]} SET {setting}")
        await upgrade(address)
        async with Database(address) as database:
            [row] = await database.fetch("SELECT name, setting FROM pg_settings WHERE name = $1", setting.split()[0])
            assert row["setting"] == {"default_transaction_isolation": "read committed", "lock_timeout": "0"}.get(
                row["name"], "30000"
            )


async def test_tables_of_others_and_of_a_newer_version_are_told_apart(server, postgres):
    async with new_database(server, postgres) as address:
        connection = await asyncpg.connect(address)
        await connection.execute("CREATE TABLE jobs (id int)")
        with pytest.raises(Unsuitable, match='relation "jobs" already exists'):
            await upgrade(address)
        await connection.execute("DROP TABLE jobs")
        await upgrade(address)
        await connection.execute("UPDATE thumbq_version SET version_num = '9999'")
        await connection.execute("COMMENT ON TABLE thumbq_version IS 'works with thumbq from revision 9999'")
        with pytest.raises(Unsuitable, match=r"revision 9999, which a newer thumbq has made"):
            await upgrade(address)
        await connection.close()
