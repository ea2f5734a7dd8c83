"""The phases of a session, and the transitions between them."""

from enum import Enum, auto


class Phase(Enum):
    """Where a session stands. A transition that the table does not have changes nothing.

    | from              | when                                                              | to       |
    |-------------------|-------------------------------------------------------------------|----------|
    | WORKING           | the worker or the server asks to drain                            | DRAINING |
    | WORKING, DRAINING | the worker ends its side, holds nothing after its Drain, is sent  | CLOSING  |
    |                   | away, or cannot be written to                                     |          |
    | CLOSING           | its last results are answered, or were waited for long enough     | ENDED    |
    | any               | the worker is silent or breaks the protocol, or the call is gone  | ENDED    |

    Only a WORKING session gets jobs. A CLOSING one takes in no more messages.
    """

    WORKING = auto()
    DRAINING = auto()
    CLOSING = auto()
    ENDED = auto()


NEXT = {
    Phase.WORKING: {Phase.DRAINING, Phase.CLOSING, Phase.ENDED},
    Phase.DRAINING: {Phase.CLOSING, Phase.ENDED},
    Phase.CLOSING: {Phase.ENDED},
    Phase.ENDED: set(),
}
