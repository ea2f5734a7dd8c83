"""Numbers in settings: finite, and within what timers, memory and the database can work with."""

from typing import Annotated

from pydantic import Field

from thumbq_runtime.settings.declaration import MOST_SECONDS

_LARGEST = 2**31 - 1

Seconds = Annotated[float, Field(ge=0.001, le=MOST_SECONDS, allow_inf_nan=False)]
# The database counts leases in whole seconds of 32 bits.
LeaseSeconds = Annotated[int, Field(ge=1, le=_LARGEST)]
Count = Annotated[int, Field(ge=1, le=_LARGEST)]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
WholeSeconds = Annotated[int, Field(ge=0, le=_LARGEST)]
