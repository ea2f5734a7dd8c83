"""The data folder of a service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service.served import data_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for the data of a `thumbq serve`, which makes it."""
    with data_folder() as path:
        yield path
