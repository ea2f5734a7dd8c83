"""Tickets of pages: which requests for them are refused, and the keys that sign them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_at_most, check_model_id

# A ticket stands in an address.
MOST_MODELS = 200
USUAL_LIFE = timedelta(minutes=10)
SHORTEST_LIFE, LONGEST_LIFE = timedelta(seconds=10), timedelta(hours=1)
# A signing key is replaced after a day, and is kept until the last ticket that it has signed is over.
KEY_LIFE = timedelta(days=1)
KEY_RETENTION = KEY_LIFE + 2 * LONGEST_LIFE


class SigningKey(NamedTuple):
    """A key that signs tickets. `seed` is the secret half, in the form of RFC 8032."""

    id: str
    seed: bytes
    created_at: datetime
    is_worn: bool  # has lived for KEY_LIFE: another one should sign


def check_ticket_models(model_ids: Sequence[int], *, all_models: bool) -> frozenset[int] | None:
    """Return the models that a ticket is for, None for all. Raises Invalid.

    All models must be asked for: the list of somebody who may see none is empty.
    """
    if all_models:
        if model_ids:
            raise Invalid("a ticket is for modelIds or for allModels, not for both")
        return None
    if not model_ids:
        raise Invalid("modelIds must name a model, or allModels must be true")
    check_at_most(model_ids, "modelIds", MOST_MODELS)
    return frozenset(map(check_model_id, model_ids))


def check_ticket_life(life: timedelta | None) -> int:
    """Return the seconds of a ticket's life. Raises Invalid."""
    if life is None:
        life = USUAL_LIFE
    if not SHORTEST_LIFE <= life <= LONGEST_LIFE:
        raise Invalid("life must be between 10 seconds and 1 hour")
    return int(life.total_seconds())
