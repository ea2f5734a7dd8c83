"""Leaves out the tests that need more than this machine gives: rights, or the history of the code."""

import subprocess

import pytest

from tests.support.previous_release import is_at_hand


def _can_mount() -> bool:
    """Return whether this process may mount a file system; containers usually may not."""
    return not subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests instead of skipping them: CI takes a skip for a missing package, and none would help here."""
    for marker, can_run in (("small_disk", _can_mount), ("previous_release", is_at_hand)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and not can_run():
            items[:] = [item for item in items if item not in marked]
            config.hook.pytest_deselected(items=marked)
