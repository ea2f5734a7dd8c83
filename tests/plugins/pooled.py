"""A pytest plugin that puts PgBouncer in transaction mode between thumbq and PostgreSQL: `make test-pooled`.

Servers and stores of the test process go through it. Connections of the tests themselves, and LISTEN, go around it.
Tests marked `sessions` are left out: they look at sessions, or break them.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.databases import launch_pooler
from thumbq_server.storage.postgres import hosts
from thumbq_server.storage.postgres.address import Address, parse_address

_MANY = {"default_pool_size": 60, "max_client_conn": 1000}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs sessions."""
    left_out = [item for item in items if item.get_closest_marker("sessions")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def _pooled(postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # The pooler would keep a connection to the template, which then could not be copied: so that is made before.
    assert migrated_template
    place = parse_address(postgres)
    pooler, port = launch_pooler(
        replace(place, database="*"), "transaction", tmp_path_factory.mktemp("pooler"), **_MANY
    )

    def through_pooler(text: str) -> Address:
        address = parse_address(text)
        if address.hosts != place.hosts or address.pooler:
            return address
        return replace(address, hosts=(("127.0.0.1", port),), asyncpg={**address.asyncpg, "sslmode": "disable"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THUMBQ_TEST_POOLED", "1")
        patch.setattr(hosts, "parse_address", through_pooler)
        hosts.hosts_of.cache_clear()
        yield
    pooler.terminate()
    pooler.communicate()
