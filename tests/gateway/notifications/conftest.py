"""What holds for all tests of the notification stream."""

import pytest

from thumbq_gateway.notifications import fanout


@pytest.fixture(autouse=True)
def written_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tasks run between any two clients that are written to, so that whatever may happen in between does."""
    monkeypatch.setattr(fanout, "PIECE", 1)
