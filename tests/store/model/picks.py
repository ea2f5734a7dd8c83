"""The choices of the model check's rules. A choice becomes a verb when it is known which jobs there are."""

from hypothesis import strategies as st

from tests.store.model.queue_verbs import LATER
from tests.support.postgres.queue_under_test import new_job
from thumbq_server.domain.job import MODEL

few = st.integers(0, 3)
requests = st.builds(
    new_job,
    st.integers(1, 2),
    st.integers(1, 3),
    priority=st.sampled_from([0, 0, 5]),
    max_attempts=st.integers(1, 3),
    force=st.booleans(),
    delay=st.sampled_from([0.0, 0.0, 0.0, float(LATER)]),
    kind=st.sampled_from([MODEL, MODEL, "Sound", "Texture"]),
    options=st.sampled_from([None, None, '{"size":1}', '{"size":2}']),
    options_matter=st.booleans(),
)
some_kinds = st.sampled_from([(), (), ("Sound",), (MODEL, "Sound"), ("Texture", "Sound", MODEL)])
# a lease: the job's index, and which of its leases
picks = st.tuples(few, st.sampled_from(["present", "present", "present", "earlier", "whichever", "unknown"]))
VERBS = (
    "enqueue",
    "enqueue and claim",
    "claim",
    "complete",
    "fail",
    "expire",
    "release",
    "extend",
    "cancel",
    "retry",
    "forget",
)
wishes = st.tuples(st.sampled_from(VERBS), picks, requests, st.booleans(), st.booleans())
