"""The limits of a worker's report, and one step beyond each."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbq_server.domain.job import Completion, Failure, Token
from thumbq_server.domain.paths import PathRule, plain_roots
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import TRUNCATED, check_completion, check_error_message, check_failure

TOKEN = Token(15, 2)
ANYWHERE = PathRule()
INSTANT = timedelta(microseconds=1)


def complete(path="/a.webp", size_bytes=0, width=1, height=1, paths=ANYWHERE):
    return check_completion(TOKEN, path, size_bytes, width, height, paths)


def test_a_picture_may_be_empty_and_of_one_pixel():
    assert complete() == Completion(15, 2, "/a.webp", 0, 1, 1)


def test_the_placeholder_of_the_first_generation_of_workers_is_taken():
    assert complete("/default/path", 0, 256, 256).thumbnail_path == "/default/path"


def test_a_path_without_extension_is_taken():
    path = "/var/lib/modelibr/uploads/de/bb/debbbb1c"
    assert complete(path).thumbnail_path == path


def test_the_name_of_an_object_has_as_many_bytes_as_stores_take():
    store = PathRule(store="s3://pictures/thumbs")
    # The prefix is part of what stores count, the bucket is not.
    longest = "s3://pictures/thumbs/" + "😀" * 254 + "a"
    assert complete(longest, paths=store).thumbnail_path == longest
    with pytest.raises(Invalid, match="thumbnailPath is longer than the 1024 bytes that an object store takes"):
        complete(longest + "b", paths=store)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"path": ""}, "thumbnailPath is required"),
        ({"path": "/" + "x" * 500}, "thumbnailPath is longer than 500 characters"),
        ({"path": "/a\0b"}, "thumbnailPath contains a NUL character"),
        ({"path": "/a/../b"}, "thumbnailPath must not contain '..'"),
        ({"path": ".."}, "thumbnailPath must not contain '..'"),
        ({"path": "/a/.."}, "thumbnailPath must not contain '..'"),
        ({"path": "/a\\..\\b"}, "thumbnailPath must not contain '..'"),
        ({"path": "a.webp"}, "thumbnailPath must be absolute"),
        ({"path": " /a.webp"}, "thumbnailPath must be absolute"),
        ({"size_bytes": None}, "sizeBytes is required"),
        ({"size_bytes": -1}, "sizeBytes must not be negative"),
        ({"width": None}, "width and height are required"),
        ({"height": None}, "width and height are required"),
        ({"width": 0}, "width and height must be 1 or more"),
        ({"height": 0}, "width and height must be 1 or more"),
        ({"width": -5}, "width and height must be 1 or more"),
    ],
)
def test_a_report_that_is_wrong_is_refused_with_a_sentence(wrong, sentence):
    with pytest.raises(Invalid) as refused:
        complete(**wrong)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("path", ["/" + "x" * 499, "/a..b/c...d", "/a b/模型.png", "/..."])
def test_a_path_at_the_limit_or_with_harmless_dots_is_taken(path):
    assert complete(path).thumbnail_path == path


@pytest.mark.parametrize("path", ["/thumbs/a.webp", "/thumbs/x/y/a.webp", "/thumbs//a", "/thumbs/./a", "/other/b"])
def test_a_path_inside_a_root_is_taken(path):
    assert complete(path, paths=PathRule(("/thumbs", "/other"))).thumbnail_path == path


@pytest.mark.parametrize("path", ["/a", "/thumbs", "/thumbs/", "/thumbs/.", "/thumbs2/a", "//thumbs/a", "/x/thumbs/a"])
def test_a_path_outside_the_roots_is_refused(path):
    with pytest.raises(Invalid, match="thumbnailPath is outside the thumbnail roots"):
        PathRule(("/thumbs", "/other")).check(path)


@pytest.mark.parametrize(
    "path",
    [
        "/thumbs/%2e%2e/a",
        "/thumbs/%252E./a",
        "/thumbs/.%2e%2fa",
        "/thumbs/\N{FULLWIDTH FULL STOP}\uff0e/a",
        "/a\\..\\b",
    ],
)
def test_a_way_up_in_an_odd_encoding_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match=r"thumbnailPath must not contain '\.\.'"):
        PathRule(("/thumbs",)).check(path)


@pytest.mark.parametrize("path", ["/thumbs/a\n", "/thumbs/\u202egnp.a", "/thumbs/\x1b[2J"])
def test_a_path_that_would_forge_a_line_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="not printable"):
        PathRule().check(path)


@pytest.mark.parametrize("path", ["/etc/passwd", "//etc/passwd", "/./proc/self/environ", "/sys", "/boot/x"])
def test_a_file_of_the_system_is_refused_even_without_roots(path: str) -> None:
    with pytest.raises(Invalid, match="thumbnailPath is outside the thumbnail roots"):
        PathRule().check(path)


@pytest.mark.parametrize("roots", [(), ("/thumbs",)])
def test_the_path_of_generation_1_without_a_picture_is_taken(roots: tuple[str, ...]) -> None:
    assert PathRule(roots).check("/default/path") == "/default/path"


def test_roots_are_compared_in_their_plain_form() -> None:
    rule = PathRule(plain_roots(["/thumbs/", "/a//b/./c"]))
    assert [rule.check(path) for path in ("/thumbs/a", "/a/b/c/d")] == ["/thumbs/a", "/a/b/c/d"]
    assert PathRule(plain_roots(["/"])).check("/etc/passwd") == "/etc/passwd"


@pytest.mark.parametrize("root", ["thumbs", "./a", "/a/../b"])
def test_a_root_that_says_too_little_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="is not an absolute path"):
        plain_roots([root])


_PARTS = st.sampled_from(["/", "//", "a", "thumbs", ".", "..", "%2e", "etc", "\0", "\n", "ä", "x" * 251, " ", ""])


@given(
    paths=st.lists(st.lists(_PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts)) | st.just(""), min_size=1),
    roots=st.sampled_from([(), ("/thumbs",), ("/a", "/thumbs/a"), ("",)]),
)
def test_many_paths_at_once_are_judged_as_one_by_one(paths: list[str], roots: tuple[str, ...]) -> None:
    rule = PathRule(roots)

    def refusal(check: Callable[[], object]) -> str:
        try:
            check()
        except Invalid as error:
            return str(error)
        return ""

    one_by_one = [refusal(partial(rule.check, path)) for path in paths]
    assert refusal(partial(rule.check_all, paths)) == next(filter(None, one_by_one), "")


def test_a_failure_keeps_its_words_and_wishes():
    assert check_failure(TOKEN, "boom", False, timedelta(seconds=2)) == Failure(15, 2, "boom", False, 2.0)
    assert check_failure(TOKEN, "boom", True, None) == Failure(15, 2, "boom", True, None)


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(days=1)])
def test_a_retry_delay_may_be_up_to_a_day(delay):
    assert check_failure(TOKEN, "boom", True, delay).retry_delay == delay.total_seconds()


@pytest.mark.parametrize("delay", [-INSTANT, timedelta(days=1) + INSTANT])
def test_a_retry_delay_beyond_is_refused(delay):
    with pytest.raises(Invalid, match="retryDelay must be between 0 and 1 day"):
        check_failure(TOKEN, "boom", True, delay)


@pytest.mark.parametrize("blank", ["", " ", "\r\n\t"])
def test_a_failure_without_a_message_is_refused_in_the_words_of_the_contract(blank):
    with pytest.raises(Invalid) as refused:
        check_error_message(blank)
    assert str(refused.value) == "Error message cannot be null or empty."


def test_a_message_of_1000_characters_is_kept_whole():
    assert check_error_message("x" * 1000) == "x" * 1000


@pytest.mark.parametrize("length", [1001, 5000, 1_000_000])
def test_a_longer_message_is_cut_and_says_so(length):
    kept = check_error_message("x" * length)
    assert len(kept) == 1000
    assert kept.endswith(TRUNCATED)
    assert kept.removesuffix(TRUNCATED) == "x" * (1000 - len(TRUNCATED))


def test_a_message_keeps_its_newlines_and_loses_its_nul_characters():
    assert check_error_message("at a\n  at b\r\n\0") == "at a\n  at b\r\n\ufffd"


@given(st.text())
def test_every_message_is_refused_or_can_be_stored(text):
    try:
        kept = check_error_message(text)
    except Invalid:
        assert not text.strip()
    else:
        assert 0 < len(kept) <= 1000
        assert "\0" not in kept
