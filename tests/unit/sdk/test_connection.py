"""The pauses between attempts of the clients, and the log of an outage."""

import logging

import pytest

from thumbq.connection import Backoff, Link, UnreadableKey, is_local, open_channel


def test_pauses_double_up_to_a_limit_and_are_jittered_by_half():
    backoff = Backoff(first=1, limit=10)
    for step in (1, 2, 4, 8, 10, 10):
        assert step / 2 <= backoff.pause() <= step
    backoff.reset()
    assert backoff.pause() <= 1


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture):
    link = Link("somewhere:50051")
    link.up()
    with caplog.at_level(logging.INFO, "thumbq"):
        for _ in range(5):
            link.down("UNAVAILABLE: connection refused")
        link.up()
        link.up()
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin == "somewhere:50051 is away (UNAVAILABLE: connection refused); trying again until it is back"
    assert end.startswith("somewhere:50051 is back after ")


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "\x7f"])
def test_a_key_that_grpc_cannot_send_is_refused_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, key: str):
    with pytest.raises(UnreadableKey, match=r"^api_key holds no key$"):
        open_channel("somewhere:50051", api_key=key)
    monkeypatch.setenv("THUMBQ_API_KEY", key)
    with pytest.raises(UnreadableKey, match=r"^THUMBQ_API_KEY holds no key$"):
        open_channel("somewhere:50051")


def test_only_a_lasting_connection_makes_pauses_short_again(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr("thumbq.connection.monotonic", lambda: now)
    link = Link("somewhere:50051")
    pauses = []
    for _ in range(10):
        link.up()
        now += 1
        pauses.append(link.down("gone"))
    assert pauses[-1] >= 2.5
    link.up()
    now += 6
    assert link.down("gone") <= 0.2


def test_a_connection_counts_from_its_first_answer_however_much_arrives(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr("thumbq.connection.monotonic", lambda: now)
    link = Link("somewhere:50051")
    for _ in range(5):
        link.down("gone")
    for _ in range(10):
        link.up()
        now += 1
    assert link.down("gone") <= 0.2


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "127.8.9.1:1",
        "localhost:50051",
        "LOCALHOST:50051",
        "localhost.:50051",
        "127.1:50051",
        "0x7f000001:50051",
        "[::1]:50051",
        "0.0.0.0:50051",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "ipv6:[::1]:50051",
        "dns:///localhost:50051",
        "unix:/run/thumbq",
        "[::ffff:127.0.0.1]:50051",
        "ipv6:[::ffff:127.0.0.1]:50051,[::1]:50052",
    ],
)
def test_a_server_on_this_machine_is_reached_without_a_proxy(target: str):
    assert is_local(target)


@pytest.mark.parametrize(
    "target",
    [
        "queue.example:50051",
        "localhost.example:1",
        "10.0.0.1:1",
        "10.1:1",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "[fd00::1]:1",
        "[::ffff:10.0.0.1]:1",
    ],
)
def test_a_server_on_another_machine_may_stand_behind_a_proxy(target: str):
    assert not is_local(target)
