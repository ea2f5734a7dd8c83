"""A pytest plugin: `pytest_plugins = ["thumbq.testing.fixtures"]` in your conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from thumbq.client.blocking import BlockingClient
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
                client.cancel(job.id)
