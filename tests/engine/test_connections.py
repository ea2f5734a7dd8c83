"""The servers open as many connections as the launcher grants them."""

import pytest

from thumbq_runtime.connections import (
    FEWEST_PER_SERVER,
    MOST_PER_SERVER,
    PER_SERVER,
    SPARE,
    connections_granted,
    connections_needed,
    pool_size,
)
from thumbq_runtime.settings.shared import MOST_PROCESSES
from thumbq_server.metrics.observer import Observer
from thumbq_server.parts import build
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.database import Database


@pytest.mark.parametrize("each", [FEWEST_PER_SERVER, PER_SERVER, MOST_PER_SERVER])
async def test_the_connections_of_a_server_are_counted_right(database_url: str, each: int) -> None:
    database = Database(database_url, pool_size=pool_size(each))
    build(Settings(database_url=database_url), database, Observer())
    listener = 1
    assert database.most_connections + listener == each


@pytest.mark.parametrize("processes", [1, 16, MOST_PROCESSES])
def test_the_embedded_postgres_has_enough_for_all_and_some_to_spare(processes: int) -> None:
    assert connections_granted(processes) >= connections_needed(processes) + SPARE
    assert connections_granted(processes) >= 100
