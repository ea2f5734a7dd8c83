"""The rules for what a request may say. Each check returns the valid value, or raises Invalid with a sentence."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from thumbq_server.domain.job import INT64_MAX, Completion, Failure, NewJob, Token
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid, StaleLease
from thumbq_server.domain.retry import MAX_ATTEMPTS

MAX_WORKER_ID = 100

MAX_TOKEN = 64

MAX_VERSION = 100

MAX_LABELS, MAX_LABEL_NAME, MAX_LABEL_VALUE = 50, 100, 500

MAX_ERROR_MESSAGE = 1000

MAX_PRIORITY = 9

MAX_BATCH = 10_000
MAX_TOGETHER = 1_000

MAX_DELAY = timedelta(days=30)

MAX_RETRY_DELAY = timedelta(days=1)

MAX_WAIT = timedelta(seconds=30)

MAX_LEASE = timedelta(hours=1)

MAX_SESSION_ID = 100

MAX_DEQUEUE = 100

MAX_PAGE = 1000

DEFAULT_PAGE = 100

MAX_URL = 2000

DEFAULT_MAX_ATTEMPTS = 3

TRUNCATED = " … [truncated]"


def parse_token(text: str, history: str) -> Token:
    """Return the parsed token; raise StaleLease for a token of another history, Invalid for anything else."""
    job_id, _, rest = text.partition("-")
    lease_seq, _, named_history = rest.partition("-")
    # isascii too: isdigit() alone is true for "²", which int() refuses
    if job_id.isdigit() and lease_seq.isdigit() and text.isascii() and len(text) <= MAX_TOKEN and len(lease_seq) <= 19:
        token = Token(int(job_id), int(lease_seq))
        if token.job_id <= INT64_MAX and 0 < token.lease_seq <= INT64_MAX:
            if named_history != history:
                raise StaleLease
            return token
    raise Invalid("leaseToken is malformed")


def check_worker_id(worker_id: str) -> str:
    """Return the trimmed worker id; raise Invalid when it is blank, too long or has control characters."""
    worker_id = worker_id.strip()
    if not worker_id:
        raise Invalid("WorkerId is required")
    if len(worker_id) > MAX_WORKER_ID:
        raise Invalid(f"WorkerId is longer than {MAX_WORKER_ID} characters")
    _check_printable("WorkerId", worker_id)
    return worker_id


def check_version(version: str) -> str:
    """Return the version of a worker's program; raise Invalid when it is too long or not printable."""
    if len(version) > MAX_VERSION:
        raise Invalid(f"version is longer than {MAX_VERSION} characters")
    _check_printable("version", version)
    return version


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a worker; raise Invalid when they are too many, too long or not printable."""
    if len(labels) > MAX_LABELS:
        raise Invalid(f"there are {len(labels)} labels; at most {MAX_LABELS} are taken")
    for name, value in labels.items():
        if not 1 <= len(name) <= MAX_LABEL_NAME:
            raise Invalid(f"the name of a label has 1 to {MAX_LABEL_NAME} characters")
        if len(value) > MAX_LABEL_VALUE:
            raise Invalid(f"the value of a label has at most {MAX_LABEL_VALUE} characters")
        _check_printable("a label", name + value)
    return dict(labels)


def _check_printable(what: str, text: str) -> None:
    """Raise Invalid, and name the first character that cannot be printed, such as a control character."""
    if not text.isprintable():
        wrong = next(character for character in text if not character.isprintable())
        raise Invalid(f"{what} has a character that is not printable (U+{ord(wrong):04X})")


def check_new_job(
    model_id: int, model_hash: str, priority: int, max_attempts: int | None, force: bool, delay: timedelta
) -> NewJob:
    """Return a valid NewJob from what a producer sent; raise Invalid with a sentence otherwise."""
    check_model_id(model_id)
    digest = check_model_hash(model_hash)
    check_priority(priority)
    max_attempts = DEFAULT_MAX_ATTEMPTS if max_attempts is None else check_max_attempts(max_attempts)
    if not timedelta(0) <= delay <= MAX_DELAY:
        raise Invalid(f"delay must be between 0 and {MAX_DELAY.days} days")
    return NewJob(model_id, digest, priority, max_attempts, force, delay.total_seconds())


def check_model_hash(model_hash: str) -> bytes:
    """Return the bytes of a hash; raise Invalid unless it has 64 hexadecimal digits."""
    if len(model_hash) != 64:
        raise Invalid("modelHash must be a SHA-256 in 64 hexadecimal digits")
    try:
        digest = bytes.fromhex(model_hash)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Invalid("modelHash must be a SHA-256 in 64 hexadecimal digits")
    return digest


def check_priority(priority: int) -> int:
    """Return the priority; raise Invalid outside 0 to MAX_PRIORITY."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise Invalid(f"priority must be between 0 and {MAX_PRIORITY}")
    return priority


def check_max_attempts(max_attempts: int) -> int:
    """Return the number of attempts; raise Invalid outside 1 to MAX_ATTEMPTS."""
    if not 1 <= max_attempts <= MAX_ATTEMPTS:
        raise Invalid(f"maxAttempts must be between 1 and {MAX_ATTEMPTS}")
    return max_attempts


def check_completion(
    token: Token,
    thumbnail_path: str,
    size_bytes: int | None,
    width: int | None,
    height: int | None,
    paths: PathRule,
) -> Completion:
    """Return a valid Completion from what a worker sent; raise Invalid with a sentence otherwise."""
    paths.check(thumbnail_path)
    if size_bytes is None or size_bytes < 0:
        raise Invalid("sizeBytes is required" if size_bytes is None else "sizeBytes must not be negative")
    if width is None or height is None:
        raise Invalid("width and height are required")
    if width < 1 or height < 1:
        raise Invalid("width and height must be 1 or more")
    return Completion(token.job_id, token.lease_seq, thumbnail_path, size_bytes, width, height)


def check_failure(token: Token, error_message: str, retryable: bool, retry_delay: timedelta | None) -> Failure:
    """Return a valid Failure from what a worker sent; raise Invalid with a sentence otherwise.

    A message over the limit is cut rather than refused: refusing it would leave the job locked.
    """
    if retry_delay is not None and not timedelta(0) <= retry_delay <= MAX_RETRY_DELAY:
        raise Invalid("retryDelay must be between 0 and 1 day")
    seconds = None if retry_delay is None else retry_delay.total_seconds()
    return Failure(token.job_id, token.lease_seq, check_error_message(error_message), retryable, seconds)


def check_error_message(text: str) -> str:
    """Return the message as it is stored: not blank, without NUL (PostgreSQL has no room for it), cut to the limit."""
    text = text.replace("\0", "\ufffd")
    if not text.strip():
        raise Invalid("Error message cannot be null or empty.")
    if len(text) > MAX_ERROR_MESSAGE:
        return text[: MAX_ERROR_MESSAGE - len(TRUNCATED)] + TRUNCATED
    return text


def check_batch(items: Sequence[object], what: str, most: int = MAX_BATCH) -> None:
    """Raise Invalid unless there are 1 to `most` items."""
    if not items:
        raise Invalid(f"{what} must not be empty")
    check_at_most(items, what, most)


def check_at_most(items: Sequence[object], what: str, most: int = MAX_BATCH) -> None:
    """Raise Invalid when there are more than `most` items."""
    if len(items) > most:
        raise Invalid(f"{what} has {len(items)} items; at most {most} are taken at once")


def check_wait(wait: timedelta) -> float:
    """Return the seconds to wait; raise Invalid outside 0 to 30 s."""
    if not timedelta(0) <= wait <= MAX_WAIT:
        raise Invalid(f"wait must be between 0 and {MAX_WAIT.seconds} seconds")
    return wait.total_seconds()


def check_model_id(model_id: int) -> int:
    """Return the id; raise Invalid unless it is positive."""
    if model_id <= 0:
        raise Invalid("modelId must be a positive integer")
    return model_id


def check_session_id(session_id: str) -> str:
    """Return the id of a worker's session, which may be empty; raise Invalid when it is malformed."""
    if len(session_id) > MAX_SESSION_ID or not session_id.isprintable():
        raise Invalid("sessionId is malformed")
    return session_id


def check_max_jobs(max_jobs: int) -> int:
    """Return the number of jobs to claim, 1 when none is given; raise Invalid outside 1 to MAX_DEQUEUE."""
    if not 0 <= max_jobs <= MAX_DEQUEUE:
        raise Invalid(f"maxJobs must be between 1 and {MAX_DEQUEUE}")
    return max_jobs or 1


def check_lease_duration(duration: timedelta) -> float:
    """Return the seconds of a lease; raise Invalid outside 0 to 1 hour."""
    if not timedelta(0) < duration <= MAX_LEASE:
        raise Invalid("duration must be more than 0 and at most 1 hour")
    return duration.total_seconds()


def check_page_size(size: int) -> int:
    """Return the number of jobs on a page, the default when none is given; raise Invalid outside 1 to MAX_PAGE."""
    if not 0 <= size <= MAX_PAGE:
        raise Invalid(f"pageSize must be between 1 and {MAX_PAGE}")
    return size or DEFAULT_PAGE


def check_page_token(token: str) -> int:
    """Return the id that the jobs of a page are below; without a token, one above all ids. Raise Invalid otherwise."""
    if not token:
        return INT64_MAX
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise Invalid("pageToken is malformed")
    return int(token)


def check_thumbnail_url(url: str) -> str:
    """Return the address of a test notification; raise Invalid when it is too long or not printable."""
    if len(url) > MAX_URL or not url.isprintable():
        raise Invalid("thumbnailUrl is malformed")
    return url
