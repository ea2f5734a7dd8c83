"""Leaves out the tests that need more than this machine gives."""

import pytest

from tests.support.left_out import left_out


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests instead of skipping them: CI takes a skip for a missing package, and none would help here."""
    for marker in left_out():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked:
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)
