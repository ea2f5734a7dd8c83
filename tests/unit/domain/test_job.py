"""The limits of a request, and one step beyond each."""

from datetime import timedelta

import pytest

from thumbq_server.domain.job import INT64_MAX, JobStatus, NewJob, Revival, Token, revival
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid, NotFound, Refused
from thumbq_server.domain.requests import MAX_BATCH, check_batch, check_new_job, check_wait, check_worker_id

TOKEN = Token(15, 2)
HASH = "a3f5e8d9c1b2a4f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c1b2a3f4e5d6c7b8a9f0"
ANYWHERE = PathRule()
NOTHING = timedelta(0)
INSTANT = timedelta(microseconds=1)


def refusal(check, *arguments):
    """Return the sentence that refuses these arguments."""
    with pytest.raises(Invalid) as refused:
        check(*arguments)
    return str(refused.value)


# worker ids


@pytest.mark.parametrize("worker_id", ["w", "worker-001", "x" * 100, "Wörker 模型 №1", "a b"])
def test_a_worker_id_is_taken(worker_id):
    assert check_worker_id(worker_id) == worker_id


def test_a_worker_id_is_trimmed_before_it_is_measured():
    assert check_worker_id("  worker-1\r\n") == "worker-1"
    assert check_worker_id(" " * 50 + "x" * 100 + " " * 50) == "x" * 100


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u00a0\u2003"])
def test_a_blank_worker_id_is_refused_in_the_words_of_the_contract(blank):
    assert refusal(check_worker_id, blank) == "WorkerId is required"


def test_a_worker_id_of_101_characters_is_refused():
    assert refusal(check_worker_id, "x" * 101) == "WorkerId is longer than 100 characters"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\u2028", "\u202e", "\x7f", "\ud800"])
def test_a_worker_id_that_could_forge_a_log_line_is_refused(character):
    assert refusal(check_worker_id, f"a{character}b") == (
        f"WorkerId has a character that is not printable (U+{ord(character):04X})"
    )


# new jobs


def new(model_id=42, model_hash=HASH, priority=0, max_attempts=None, force=False, delay=NOTHING):
    return check_new_job(model_id, model_hash, priority, max_attempts, force, delay)


def test_a_new_job_has_three_attempts_unless_it_says_otherwise():
    assert new() == NewJob(42, bytes.fromhex(HASH), 0, 3, False, 0.0)
    assert new(max_attempts=5).max_attempts == 5


@pytest.mark.parametrize("model_id", [1, INT64_MAX])
def test_a_model_is_a_positive_integer(model_id):
    assert new(model_id=model_id).model_id == model_id


@pytest.mark.parametrize("model_id", [0, -1])
def test_a_model_that_is_not_is_refused(model_id):
    with pytest.raises(Invalid, match="modelId must be a positive integer"):
        new(model_id=model_id)


def test_a_hash_is_read_in_either_case():
    assert new(model_hash=HASH.upper()) == new(model_hash=HASH)


@pytest.mark.parametrize(
    "model_hash",
    ["", HASH[:-1], HASH + "0", "g" * 64, HASH[:-2] + "  ", " " + HASH[:-1], "٣" * 64, "0x" + HASH[2:]],
)
def test_a_hash_that_is_no_sha_256_is_refused(model_hash):
    with pytest.raises(Invalid, match="modelHash must be a SHA-256 in 64 hexadecimal digits"):
        new(model_hash=model_hash)


@pytest.mark.parametrize(("priority", "good"), [(-1, False), (0, True), (9, True), (10, False)])
def test_priorities_go_from_0_to_9(priority, good):
    if good:
        assert new(priority=priority).priority == priority
    else:
        with pytest.raises(Invalid, match="priority must be between 0 and 9"):
            new(priority=priority)


@pytest.mark.parametrize(("max_attempts", "good"), [(-1, False), (0, False), (1, True), (10, True), (11, False)])
def test_attempts_go_from_1_to_10(max_attempts, good):
    if good:
        assert new(max_attempts=max_attempts).max_attempts == max_attempts
    else:
        with pytest.raises(Invalid, match="maxAttempts must be between 1 and 10"):
            new(max_attempts=max_attempts)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (NOTHING, 0.0),
        (timedelta(milliseconds=1500), 1.5),
        (timedelta(days=30), 2_592_000.0),
        (-INSTANT, None),
        (timedelta(days=30) + INSTANT, None),
    ],
)
def test_delays_go_up_to_30_days(delay, seconds):
    if seconds is None:
        with pytest.raises(Invalid, match="delay must be between 0 and 30 days"):
            new(delay=delay)
    else:
        assert new(delay=delay).delay == seconds


def test_force_is_handed_on():
    assert new(force=True).force is True


# batches and waits


@pytest.mark.parametrize("count", [1, MAX_BATCH])
def test_a_batch_has_1_to_10_000_items(count):
    check_batch(range(count), "jobs")


def test_an_empty_or_larger_batch_is_refused():
    assert refusal(check_batch, [], "jobs") == "jobs must not be empty"
    assert refusal(check_batch, range(10_001), "jobs") == "jobs has 10001 items; at most 10000 are taken at once"


@pytest.mark.parametrize("seconds", [0, 0.25, 30])
def test_a_wait_may_be_up_to_30_seconds(seconds):
    assert check_wait(timedelta(seconds=seconds)) == seconds


@pytest.mark.parametrize("wait", [-INSTANT, timedelta(seconds=30) + INSTANT])
def test_a_wait_beyond_is_refused(wait):
    assert refusal(check_wait, wait) == "wait must be between 0 and 30 seconds"


# refusals


def test_an_unknown_job_is_named_in_the_words_of_the_contract():
    assert str(NotFound(999)) == "Thumbnail job with ID 999 was not found."
    assert isinstance(NotFound(999), Refused)


# what an enqueue does


@pytest.mark.parametrize(
    ("status", "attempt_count", "shown", "force", "expected"),
    [
        ("Pending", 0, False, False, Revival.KEEP),
        ("Pending", 2, False, False, Revival.KEEP),
        ("Pending", 0, False, True, Revival.KEEP),
        ("Pending", 1, False, True, Revival.RESTART),
        ("Processing", 1, False, False, Revival.KEEP),
        ("Processing", 1, False, True, Revival.RERUN),
        ("Completed", 1, True, False, Revival.KEEP),
        ("Completed", 1, False, False, Revival.RESET),
        ("Completed", 1, True, True, Revival.RESET),
        ("Failed", 3, False, False, Revival.RESET),
        ("Failed", 3, False, True, Revival.RESET),
        ("Cancelled", 0, False, False, Revival.RESET),
        ("Cancelled", 1, True, True, Revival.RESET),
    ],
)
def test_an_enqueue_keeps_what_lives_and_revives_what_ended(status, attempt_count, shown, force, expected):
    assert revival(JobStatus(status), attempt_count, shown=shown, force=force) is expected
