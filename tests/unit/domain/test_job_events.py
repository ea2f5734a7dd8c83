"""Lines in the log of a job: valid ones are taken, and long ones cut."""

import pytest

from thumbq_server.domain.job_events import MAX_METADATA, MAX_TEXT, check_job_event
from thumbq_server.domain.refusals import Invalid


def test_a_line_keeps_what_it_says_and_lacks_what_it_does_not_say():
    event = check_job_event(7, " ModelLoaded ", "12 triangles", "", "")
    assert event == (7, "ModelLoaded", "12 triangles", None, None)


def test_long_texts_are_cut_and_nul_is_replaced():
    event = check_job_event(7, "JobFailed", "m" * 5000, "d" * 5000, "a\0b" + "e" * 5000)
    assert (len(event.message), len(event.metadata or "")) == (MAX_TEXT, MAX_METADATA)
    assert (event.error_message or "").startswith("a\ufffdb")
    assert len(event.error_message or "") == MAX_TEXT


@pytest.mark.parametrize("event_type", ["", " ", "\t"])
def test_a_line_without_a_type_is_refused(event_type):
    with pytest.raises(Invalid, match="eventType is required"):
        check_job_event(7, event_type, "m", "", "")
