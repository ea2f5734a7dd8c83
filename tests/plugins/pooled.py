"""A pytest plugin that puts PgBouncer in transaction mode between thumbq and PostgreSQL: `make test-pooled`.

Servers and stores go through it, whether in the test process or in one of their own. Connections of the tests
themselves, and LISTEN, go around it. Tests marked `sessions`, with the reason, are left out.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.postgres.databases import POOLER_PORT, end_pooler, launch_pooler
from thumbq_server.storage.postgres import hosts
from thumbq_server.storage.postgres.address import Address, parse_address

# A database that a test makes away is asked again at once, and calls do not wait for it for long. A busy machine takes
# seconds to open a connection.
_OPTIONS = {"default_pool_size": 60, "max_client_conn": 1000, "server_login_retry": 0.1, "query_wait_timeout": 8}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs sessions."""
    left_out = []
    for item in items:
        if marker := item.get_closest_marker("sessions"):
            assert marker.args, f"{item.nodeid}: say why it is left out behind a pooler"
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def _pooled(postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # The pooler would keep a connection to the template, which then could not be copied: so that is made before.
    assert migrated_template
    place = parse_address(postgres)
    pooler, port = launch_pooler(
        replace(place, database="*"), "transaction", tmp_path_factory.mktemp("pooler"), **_OPTIONS
    )

    def through_pooler(text: str) -> Address:
        address = parse_address(text)
        if address.hosts != place.hosts or address.pooler:
            return address
        return replace(address, hosts=(("127.0.0.1", port),), asyncpg={**address.asyncpg, "sslmode": "disable"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(POOLER_PORT, str(port))
        patch.setattr(hosts, "parse_address", through_pooler)
        hosts.hosts_of.cache_clear()
        yield
    end_pooler(pooler)
