"""What servers tell each other: every version ignores what it does not know."""

import pytest

from thumbq_server.domain.job import Token
from thumbq_server.engine.sessions.server_messages import LeaseCancelled, ServerMessage, SessionOpened, encode, parse


@pytest.mark.parametrize("message", [SessionOpened(12, "8c0f"), LeaseCancelled(12, Token(7, 3))])
def test_a_message_arrives_as_it_was_sent(message: ServerMessage):
    assert parse(encode(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "jobs",
        "session/1",
        "session/1 12",
        "session/1 12 ",
        "session/1 x 8c0f",
        "session/1 ² 8c0f",
        "session/1 -1 8c0f",
        "session/1 12 8c0f and more",
        "session/2 12 8c0f",
        "session 12 8c0f",
        "cancelled/1 12 nonsense",
        "cancelled/1 12 7-0",
        "paused/1 12 7-3",
        '{"kind": "session", "version": 3}',
    ],
)
def test_an_unknown_or_malformed_message_is_ignored(payload: str):
    assert parse(payload) is None
