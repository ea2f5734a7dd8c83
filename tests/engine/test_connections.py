"""The servers open as many connections as the launcher grants them."""

import pytest

from thumbq_runtime.connections import PER_SERVER, SPARE, connections_granted, connections_needed
from thumbq_runtime.settings import MOST_PROCESSES
from thumbq_server.metrics.observer import Observer
from thumbq_server.parts import build
from thumbq_server.settings import Settings
from thumbq_server.storage.postgres.database import Database


async def test_the_connections_of_a_server_are_counted_right(database_url: str) -> None:
    database = Database(database_url)
    build(Settings(database_url=database_url), database, Observer())
    listener = 1
    assert database.most_connections + listener == PER_SERVER


@pytest.mark.parametrize("processes", [1, 16, MOST_PROCESSES])
def test_the_embedded_postgres_has_enough_for_all_and_some_to_spare(processes: int) -> None:
    assert connections_granted(processes) >= connections_needed(processes) + SPARE
    assert connections_granted(processes) >= 100
