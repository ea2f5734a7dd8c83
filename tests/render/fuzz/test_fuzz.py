"""A short run of `make fuzz-render`."""

import pytest

from tests.render.fuzz.__main__ import run
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
async def test_damaged_models_hang_nothing_leak_nothing_and_become_no_blank_pictures():
    fuzz = await run(files=40, seed=5)
    assert not fuzz.faults
    assert fuzz.outcomes["drawn"]
    assert fuzz.outcomes["refused"]
