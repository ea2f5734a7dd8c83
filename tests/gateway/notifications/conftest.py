"""What holds for all tests of the notification stream."""

import pytest

from thumbq_gateway.notifications import fanout
from thumbq_gateway.notifications.audiences import crowd


@pytest.fixture(autouse=True)
def written_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tasks run between any two clients that are written to, so that whatever may happen in between does.

    All clients have one address here. The first two get each event at once, and the next ones are its crowd.
    """
    monkeypatch.setattr(fanout, "PIECE", 1)
    monkeypatch.setattr(crowd, "FEW", 2)
