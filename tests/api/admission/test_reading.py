"""Reading a review: whoever has a uid gets an answer, and whatever is odd is a fault that is kept."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate_api.admission.reading import DEEPEST_OBJECT, read_review
from joulegate_api.bodies import DEEPEST
from joulegate_api.errors import RefusedError
from tests.api.running import job, review

GOOD = json.dumps(review(job(uid="object-uid"))).encode()


def nested(depth: int) -> Any:
    inside: Any = 1
    for _ in range(depth):
        inside = {"a": inside}
    return inside


def test_a_good_review_has_no_fault() -> None:
    read = read_review(GOOD)
    assert read.fault is None
    assert (read.uid, read.operation, read.namespace, read.user) == ("review-1", "CREATE", "vision", "alice")
    assert (read.resource, read.dry_run, read.old) == ("jobs.batch", False, None)
    assert read.new == job(uid="object-uid")


def test_unknown_fields_are_ignored() -> None:
    body = review(job())
    body["new"] = body["request"]["newer"] = {"a": [1]}
    assert read_review(json.dumps(body).encode()).fault is None


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (GOOD.replace(b'"CREATE"', b'"CREATE", "operation": "CREATE"'), "twice"),
        (GOOD.replace(b'"image"', b'"name": "again", "image"'), "twice"),
        (GOOD.replace(b'"train"', b"NaN"), "number of JSON"),
        (GOOD.replace(b'"train"', b"1e999"), "finite"),
        (GOOD.replace(b'"train"', b"9" * 5_000), "out of range"),
        (GOOD.replace(b"alice", b"al\xffice"), "UTF-8"),
        (GOOD.replace(b"alice", b"al\\ud800ice"), "surrogate"),
        (GOOD.replace(b"train", b"tr\\u0000ain"), "NUL"),
        (GOOD.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"), "admission.k8s.io/v1"),
        (GOOD.replace(b'"AdmissionReview"', b'"Review"'), "AdmissionReview"),
        (json.dumps(review(job(), dryRun="yes")).encode(), "dryRun"),
        (json.dumps(review(job(), operation=1)).encode(), "operation"),
        (json.dumps(review(job(), userInfo=[])).encode(), "userInfo"),
        (json.dumps(review([])).encode(), "object"),  # type: ignore[arg-type] # as somebody may send it
        (json.dumps(review(nested(DEEPEST_OBJECT + 1))).encode(), "deep"),
        (json.dumps(review(job(), options=nested(DEEPEST))).encode(), "deep"),
        (GOOD.replace(b'"spec"', b'"deep": ' + b"[" * 200_000 + b"]" * 200_000 + b', "spec"'), "deep"),
    ],
)
def test_what_cannot_be_believed_is_a_fault_and_the_uid_is_still_read(raw: bytes, fault: str) -> None:
    began = time.perf_counter()
    read = read_review(raw)
    assert read.uid == "review-1"
    assert read.fault is not None
    assert fault in read.fault
    assert time.perf_counter() - began < 2


def test_an_object_may_nest_deeper_than_the_rest() -> None:
    assert read_review(json.dumps(review(nested(DEEPEST_OBJECT))).encode()).fault is None
    assert read_review(json.dumps(review(job(), oldObject=nested(DEEPEST_OBJECT))).encode()).fault is None
    assert read_review(json.dumps(review(job(), options=nested(DEEPEST - 2))).encode()).fault is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"request": {}}',
        b'{"request": []}',
        b'{"request": {"uid": ""}}',
        b'{"request": {"uid": 7}}',
        b'{"request": {"uid": "a\\nb"}}',
        b'{"request": {"uid": "\\ud800"}}',
        b'{"request": {"uid": "' + b"x" * 257 + b'"}}',
        GOOD[:-1],
        GOOD + b"}",
        b"[" * 1_000_000,
    ],
)
def test_a_body_without_a_uid_to_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        read_review(raw)
    assert refused.value.status == 400
    assert refused.value.code in {"no_uid", "malformed_json"}


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3))
def test_any_change_of_a_review_is_read_or_refused(place: int, change: bytes) -> None:
    try:
        read = read_review(GOOD[:place] + change + GOOD[place + 1 :])
    except RefusedError as error:
        assert error.status == 400  # noqa: PT017 -- either answer is right
    else:
        assert json.dumps(read.uid)
