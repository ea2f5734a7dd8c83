"""One renderer for the tests of a file, and an intake that needs no renderer."""

from collections.abc import AsyncIterator

import pytest

from thumbq.render.child import Limits
from thumbq.render.drawing.stage import Stage
from thumbq.render.intake.model import Intake


@pytest.fixture(scope="module")
async def intake() -> AsyncIterator[Intake]:
    """Takes model files of at most 1 MB."""
    stage = Stage()
    intake = Intake(stage.path, Limits(seconds=20, file=1))
    yield intake
    await intake.close()
    stage.remove()
