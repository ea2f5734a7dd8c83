"""A pytest plugin: `pytest_plugins = ["thumbq.testing.fixtures"]` in your conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from thumbq.client.blocking import BlockingClient
from thumbq.client.errors import Conflict
from thumbq.testing.service import PrivateService, private_service


@pytest.fixture(scope="session")
def thumbq_session() -> Iterator[PrivateService]:
    """One private service for all tests of the session."""
    with private_service() as service:
        yield service


@pytest.fixture
def thumbq_service(thumbq_session: PrivateService) -> Iterator[PrivateService]:
    """The session's service with no job that waits: each test leaves none to the next.

    Ended jobs and their pictures stay, so let each test use models of its own.
    """
    yield thumbq_session
    with BlockingClient(thumbq_session.address) as client:
        for status in ("Pending", "Processing"):
            for job in list(client.jobs(status=status)):
                with suppress(Conflict):  # it has ended meanwhile
                    client.cancel(job.id)
