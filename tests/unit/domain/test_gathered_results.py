"""Single results that go on as columns mean the same as one by one."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from thumbq.v1 import job_pb2
from thumbq_server.domain.paths import PathRule
from thumbq_server.rpc.codec import columns
from thumbq_server.rpc.codec.results import read_results

HISTORY = "8c0f"
PATHS = PathRule(("/thumbnails",))


@st.composite
def tokens(draw: st.DrawFn) -> str:
    job_id = draw(st.sampled_from(["1", "2", "3", "007", "0", "-4", "x", "", "9" * 18, "9" * 20, "²"]))
    lease_seq = draw(st.sampled_from(["1", "2", "07", "0", "y", "", "8" * 19]))
    return "-".join([job_id, lease_seq, draw(st.sampled_from([HISTORY, HISTORY, HISTORY, "", "beef", "h" * 60]))])


@st.composite
def results(draw: st.DrawFn) -> job_pb2.Result:
    result = job_pb2.Result(lease_token=draw(tokens()))
    match draw(st.sampled_from(["complete", "complete", "complete", "fail", "release", "nothing"])):
        case "complete":
            path = draw(
                st.sampled_from(["/thumbnails/a.png", "/thumbnails/b.png", "/etc/passwd", "", "/thumbnails/../x"])
            )
            result.complete.thumbnail_path = path
            result.complete.size_bytes = draw(st.sampled_from([0, 7, -1]))
            result.complete.width, result.complete.height = draw(st.sampled_from([(1, 2), (512, 512), (0, 1)]))
        case "fail":
            result.fail.error_message = "broken"
        case "release":
            result.release.SetInParent()
    return result


@given(st.lists(results(), max_size=8))
def test_results_mean_the_same_gathered_as_one_by_one(message):
    report, exceptions = read_results(message, PATHS, HISTORY)

    groups, others = columns.gathered(message)
    gathered = [read_results(others, PATHS, HISTORY)]
    gathered += [columns.read_successes(group, PATHS, HISTORY) for group in groups]

    reported = [row for read in gathered for row in read.report.completions]
    reported += [row for read in gathered for group in read.report.columns for row in group.rows()]
    assert Counter(reported) == Counter(report.completions)
    assert (gathered[0].report.failures, gathered[0].report.releases) == (report.failures, report.releases)
    learned = [exception.SerializeToString() for read in gathered for exception in read.exceptions]
    assert Counter(learned) == Counter(exception.SerializeToString() for exception in exceptions)


def test_successes_of_a_lease_stand_side_by_side():
    message = [job_pb2.Result(lease_token=f"{job_id}-{seq}-{HISTORY}") for job_id, seq in ((5, 1), (7, 2), (6, 1))]
    for result in message:
        result.complete.thumbnail_path = f"/thumbnails/{result.lease_token}.png"
    groups, others = columns.gathered(message)
    assert [(group.lease, list(group.job_ids)) for group in groups] == [("1-8c0f", [5, 6]), ("2-8c0f", [7])]
    assert not others
