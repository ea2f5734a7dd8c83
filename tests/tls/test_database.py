"""TLS between a server and PostgreSQL: each mode, and each trouble in one sentence with the way out."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.network.certificates import Certificates
from tests.support.postgres.tls_postgres import TlsPostgres
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.worker import PICTURE, enqueue
from thumbq.cli.operating.observe import readiness
from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.hosts import hosts_of
from thumbq_server.storage.postgres.suitability import Unsuitable, check_database

PASSWORD = "p@ss:w/ord?#[]%&=+ é'\"\\$"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Certificates:
    """The authority of PostgreSQL's certificate, and of the one of its client."""
    authority = Certificates(folder / "ours")
    authority.client("certified")
    return authority


@pytest.fixture(scope="module")
def strangers(folder: Path) -> Certificates:
    """Another authority, with a certificate for the same client."""
    strangers = Certificates(folder / "others")
    strangers.client("certified")
    return strangers


@pytest.fixture(scope="module")
def tls_postgres(folder: Path, authority: Certificates) -> Iterator[TlsPostgres]:
    postgres = TlsPostgres(folder / "postgres", authority)
    with postgres.running():
        yield postgres


@pytest.fixture(scope="module")
async def admin(tls_postgres: TlsPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(tls_postgres.dsn)
    for role in ("certified", "encrypted", "either", "secret"):
        await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    escaped = PASSWORD.replace("'", "''")
    await connection.execute(f"SET standard_conforming_strings = on; ALTER ROLE secret PASSWORD '{escaped}'")
    yield connection
    await connection.close()


@pytest.fixture
def address_of(tls_postgres: TlsPostgres, admin: asyncpg.Connection):
    """Make addresses. A role has a schema of its own name."""

    def make(role: str, host: str = "127.0.0.1", password: str = "", **parameters: object) -> str:
        given = "".join(f"&{name}={quote(str(value))}" for name, value in parameters.items())
        account = f"{role}:{quote(password, safe='')}" if password else role
        return f"postgresql://{account}@{host}:{tls_postgres.port}/thumbq?schema={role}{given}"

    return make


async def has_tls(address: str) -> bool:
    connection = await hosts_of(address).connect({})
    try:
        return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    finally:
        await connection.close()


async def is_told(sentence: str, address: str) -> bool:
    """Return whether the refusal says so. PostgreSQL's word may get lost with the connection that it ends."""
    with pytest.raises((Unsuitable, Unavailable)) as refusal:
        await check_database(address, 1)
    assert "certificate in sslcert" in str(refusal.value)
    return sentence in str(refusal.value)


async def test_each_mode_gives_the_tls_that_it_promises(address_of, authority: Certificates) -> None:
    for mode, tls in {"disable": False, "allow": False, "prefer": True, "require": True}.items():
        assert await has_tls(address_of("either", sslmode=mode)) is tls, mode
    for mode in ("require", "verify-ca", "verify-full"):
        assert await has_tls(address_of("encrypted", sslmode=mode, sslrootcert=authority.ca)), mode
    # This address is not in the certificate.
    assert await has_tls(address_of("either", "127.0.0.2", sslmode="verify-ca", sslrootcert=authority.ca))
    assert await has_tls(address_of("encrypted"))
    shown = {"sslcert": authority.folder / "certified.pem", "sslkey": authority.folder / "certified.key"}
    assert await has_tls(address_of("certified", sslmode="verify-full", sslrootcert=authority.ca, **shown))


async def test_each_trouble_is_one_sentence(
    address_of, authority: Certificates, strangers: Certificates, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    own, other = authority.folder / "certified", strangers.folder / "certified"

    def shown(certificate: Path, key: Path) -> dict[str, object]:
        return {"sslmode": "require", "sslcert": f"{certificate}.pem", "sslkey": f"{key}.key"}

    troubles = {
        "signed by an authority that sslrootcert does not hold": address_of(
            "either", sslmode="verify-full", sslrootcert=strangers.ca
        ),
        "for another address than the host in DATABASE_URL": address_of(
            "either", "127.0.0.2", sslmode="verify-full", sslrootcert=authority.ca
        ),
        "sslrootcert or sslcrl holds no certificate": address_of("either", sslmode="verify-full", sslrootcert=junk),
        "no pg_hba.conf entry .* no encryption": address_of("encrypted", sslmode="disable"),
        "connection requires a valid client certificate": address_of("certified", sslmode="require"),
        'certificate authentication failed for user "certified"': address_of(
            "certified", **shown(authority.client("someone").with_suffix(""), authority.folder / "someone")
        ),
        "sslkey does not belong to the certificate in sslcert": address_of("certified", **shown(own, other)),
        "sslcert and sslkey cannot be used": address_of(
            "certified", sslmode="require", sslcert=junk, sslkey=f"{own}.key"
        ),
    }
    for sentence, address in troubles.items():
        with pytest.raises(Unsuitable, match=sentence) as refusal:
            await check_database(address, 1)
        assert str(refusal.value).endswith(".")
        assert "\n" not in str(refusal.value)
    address = address_of("certified", **shown(other, other))
    await eventually(lambda: is_told("does not trust the authority of the certificate in sslcert", address), timeout=60)


async def test_an_expired_certificate_is_an_outage_until_it_is_renewed(
    address_of, authority: Certificates, tls_postgres: TlsPostgres, admin: asyncpg.Connection
) -> None:
    address = address_of("either", sslmode="verify-full", sslrootcert=authority.ca)

    async def shows_certificate_of(days: float) -> None:
        authority.server(days=days)
        tls_postgres.copy_certificate()
        await admin.execute("SELECT pg_reload_conf()")

    async def tells(reason: str) -> bool:
        return (await readiness(server)).reason == reason

    async with running_server(address) as server:
        await shows_certificate_of(days=-1)
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'either'")
        sentence = "The certificate of PostgreSQL has expired: renew it there"
        await eventually(lambda: tells(sentence), timeout=60)
        with pytest.raises(Unavailable, match=sentence):
            await check_database(address, 1)
        await shows_certificate_of(days=30)
        await eventually(lambda: tells(""), timeout=60)

    authority.client("certified", days=-1)
    shown = {"sslcert": authority.folder / "certified.pem", "sslkey": authority.folder / "certified.key"}
    expired = address_of("certified", sslmode="require", **shown)
    await eventually(lambda: is_told("the certificate in sslcert has expired: renew it", expired), timeout=60)
    authority.client("certified")


async def test_a_host_that_is_away_is_waited_for_although_another_has_a_wrong_certificate(
    address_of, tls_postgres: TlsPostgres, strangers: Certificates, unused_tcp_port: int
) -> None:
    wrong = address_of("either", sslmode="verify-full", sslrootcert=strangers.ca)
    right, away = f"127.0.0.1:{tls_postgres.port}", f"127.0.0.1:{unused_tcp_port}"
    sentence = "signed by an authority that sslrootcert does not hold"
    for hosts in (f"{away},{right}", f"{right},{away}"):
        with capture_logs() as logs, pytest.raises(Unavailable, match="Connect call failed"):
            await check_database(wrong.replace(right, hosts), 1)
        assert [sentence in line["why"] for line in logs if line["event"] == "postgres.tls_fails"] == [True]
    with pytest.raises(Unsuitable, match=sentence):
        await check_database(wrong.replace(right, f"{right},{right}"), 1)


async def test_trouble_with_tls_is_logged_again_when_another_one_was_in_between(
    authority: Certificates, strangers: Certificates, tmp_path: Path, unused_tcp_port: int
) -> None:
    postgres = TlsPostgres(tmp_path / "postgres", authority)
    places = f"127.0.0.1:{postgres.port},127.0.0.1:{unused_tcp_port}"
    hosts = hosts_of(f"postgresql://either@{places}/thumbq?sslmode=verify-full&sslrootcert={strangers.ca}")

    async def events_of_an_attempt() -> list[str]:
        with capture_logs() as logs, pytest.raises(OSError, match="Connect call failed"):
            await hosts.connect({})
        return [line["event"] for line in logs]

    with postgres.running():
        assert await events_of_an_attempt() == ["postgres.tls_fails"]
        assert await events_of_an_attempt() == []
    assert await events_of_an_attempt() == []
    with postgres.running():
        assert await events_of_an_attempt() == ["postgres.tls_fails"]


async def test_a_postgres_without_tls_is_told(address_of, admin: asyncpg.Connection) -> None:
    await admin.execute("ALTER SYSTEM SET ssl = off")
    await admin.execute("SELECT pg_reload_conf()")

    async def is_off() -> bool:
        return not await has_tls(address_of("either", sslmode="prefer"))

    await eventually(is_off, timeout=60)
    with pytest.raises(Unsuitable, match=r"PostgreSQL has no TLS there: set ssl = on .* or sslmode=prefer"):
        await check_database(address_of("either", sslmode="require"), 1)
    await admin.execute("ALTER SYSTEM SET ssl = on")
    await admin.execute("SELECT pg_reload_conf()")

    async def is_on() -> bool:
        return await has_tls(address_of("either", sslmode="prefer"))

    await eventually(is_on, timeout=60)


async def test_a_plain_role_with_a_schema_and_a_strange_password_is_all_it_takes(
    address_of, tls_postgres: TlsPostgres, admin: asyncpg.Connection, authority: Certificates
) -> None:
    """A whole job, with settings in `options` as well, and nothing outside the schema."""
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    place = f"host=localhost port={tls_postgres.port} dbname=thumbq"
    assert await has_tls(f"{place} user=secret password='{quoted}' sslmode=verify-full sslrootcert={authority.ca}")
    with pytest.raises(Unsuitable, match='password authentication failed for user "secret"') as refusal:
        await check_database(address_of("secret", password="wrong-9d1f"), 1)
    assert "wrong-9d1f" not in str(refusal.value)
    address = address_of("secret", password=PASSWORD, sslmode="require", options="-c work_mem=5MB")
    async with running_server(address) as server, grpc.aio.insecure_channel(server) as channel:
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        (job,) = await enqueue(queue, 7)
        claimed = (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w"))).job
        assert claimed.id == job.job_id
        result = job_pb2.Result(lease_token=claimed.lease_token, complete=PICTURE)
        assert not (await queue.ReportResults(queue_pb2.ReportResultsRequest(results=[result]))).exceptions
    connection = await hosts_of(address).connect({})
    assert await connection.fetchval("SHOW work_mem") == "5MB"
    await connection.close()
    assert await admin.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert await admin.fetchval("SELECT count(*) FROM secret.jobs") == 1
