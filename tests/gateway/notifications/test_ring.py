"""The ring of recent notifications: bounded, without a hole between floor and head."""

import pytest

from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.ring import Event, Ring


def event(seq: int, size: int = 1) -> Event:
    return Event(seq=seq, model_id=seq, status=4, event_stream=b"x" * size, json_lines=b"")


def ring(start: int = 0, capacity: int = 3, byte_limit: int = 1_000) -> Ring:
    return Ring(Cursor("e", start), Cursor("e", start), capacity, byte_limit)


def seqs(events: list[Event]) -> list[int]:
    return [found.seq for found in events]


def test_it_gives_what_follows_a_position() -> None:
    filled = ring(start=10)
    filled.append([event(11), event(12), event(13)])
    assert seqs(filled.after(10, 9)) == [11, 12, 13]
    assert seqs(filled.after(12, 9)) == [13]
    assert filled.after(13, 9) == []
    assert seqs(filled.after(10, 2)) == [11, 12]


def test_it_forgets_the_oldest_and_says_so() -> None:
    filled = ring()
    for seq in range(1, 21):
        filled.append([event(seq)])
        assert filled.head == ("e", seq)
        assert filled.floor == ("e", max(0, seq - 3))
        assert seqs(filled.after(filled.floor.seq, 99)) == list(range(max(0, seq - 3) + 1, seq + 1))


def test_it_is_bounded_in_bytes_too() -> None:
    filled = ring(capacity=100, byte_limit=10)
    filled.append([event(1, 4), event(2, 4), event(3, 4)])
    assert filled.floor.seq == 1
    filled.append([event(4, 50)])
    assert (filled.floor.seq, filled.after(4, 9)) == (4, [])


def test_a_restart_forgets_everything() -> None:
    filled = ring()
    filled.append([event(1)])
    filled.restart(Cursor("f", 7))
    assert (filled.floor, filled.head, filled.after(7, 9)) == (("f", 7), ("f", 7), [])


def test_it_is_filled_when_it_has_reached_the_present() -> None:
    behind = Ring(Cursor("e", 5), Cursor("e", 7), 10, 1_000)
    assert not behind.is_filled
    behind.append([event(6), event(7)])
    assert behind.is_filled


def test_a_new_epoch_is_the_present() -> None:
    behind = Ring(Cursor("e", 5), Cursor("e", 7), 10, 1_000)
    behind.restart(Cursor("f", 0))
    assert behind.is_filled


@pytest.mark.parametrize("text", ["", "12", "e-", "-1", "e-x", "e-1-", "e--1", "e-1\n", "é-1", "e-" + "9" * 30, "e 1"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        Cursor.parse(text)


def test_a_cursor_is_written_as_it_is_read() -> None:
    assert str(Cursor.parse("532ea9ad-42")) == "532ea9ad-42"
