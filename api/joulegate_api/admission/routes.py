"""The routes of admission: validate and mutate for an API server, preview for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.budgets import Outcome, Reason, Verdict
from joulegate.core.errors import InvalidInputError
from joulegate_api.admission.answers import review_json, verdict_json
from joulegate_api.admission.deciding import Decision, decide_review
from joulegate_api.admission.gating import gated_json
from joulegate_api.admission.reading import Review, read_review
from joulegate_api.auth import Principal
from joulegate_api.bodies import Raw, RawBatch, parse
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.predictions import MANIFEST, namespace_of, prediction_json

_REVIEW: Final = {
    "type": "object",
    "description": "An AdmissionReview of admission.k8s.io/v1; unknown fields are ignored, `request.uid` is echoed.",
    "required": ["apiVersion", "kind", "request"],
}

router = APIRouter(tags=["admission"])


@router.post("/v1/admission/validate", openapi_extra=takes(_REVIEW))
def validate(raw: RawBatch, parts: Parts, caller: Caller) -> JSONResponse:
    """Decide a review and hold what it asks for; 200 for every review whose uid can be read."""
    return answered(raw, parts, caller, proven=True)


@router.post("/v1/admission/mutate", openapi_extra=takes(_REVIEW))
def mutate(raw: RawBatch, parts: Parts, caller: Caller) -> JSONResponse:
    """Gate what a budget that queues has to let go first; nothing is decided, held or refused."""
    return gated(raw, parts, caller)


@router.post("/v1/admission/preview", openapi_extra=takes(MANIFEST))
def preview(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """The verdict that a manifest would get now, with its prediction; nothing is held or written."""
    manifest = parse(raw)
    if not isinstance(manifest, Mapping):
        raise InvalidInputError("must be an object", "manifest")
    namespace = namespace_of(manifest)
    caller.require(namespace, parts.settings.cluster, None, parts.here)
    review = Review("preview", namespace=namespace, user=caller.name, dry_run=True, new=manifest)
    decision = decide_review(review, parts)
    prediction = (
        prediction_json(decision.demand, decision.forecast, parts) if decision.demand and decision.forecast else None
    )
    return answer(verdict_json(decision.verdict) | {"prediction": prediction})


def answered(raw: bytes, parts: Context, caller: Principal | None, *, proven: bool) -> JSONResponse:
    """The AdmissionReview that answers a body; ``caller`` None is known to be nobody in particular."""
    began = time.perf_counter()
    review = read_review(raw)
    decision = _decide(review, parts, caller, proven=proven)
    parts.metrics.decided(decision.verdict.outcome, decision.verdict.reason, time.perf_counter() - began)
    return answer(review_json(review.uid, decision.verdict))


def gated(raw: bytes, parts: Context, caller: Principal | None) -> JSONResponse:
    """The AdmissionReview that gates the object of a body; ``caller`` None is known to be nobody in particular."""
    review = read_review(raw)
    if caller is not None and not caller.reaches(
        review.namespace or "default", parts.settings.cluster, None, parts.here
    ):
        review = replace(review, fault="the caller has no grant for its namespace")
    return answer(gated_json(review, parts))


def _decide(review: Review, parts: Context, caller: Principal | None, *, proven: bool) -> Decision:
    namespace = review.namespace or "default"
    if caller is not None and not caller.reaches(namespace, parts.settings.cluster, None, parts.here):
        detail = f"{caller.name} has no grant for {parts.settings.cluster}/{namespace}"
        return Decision(Verdict(Outcome.DENY, Reason.NOT_PERMITTED, detail=detail))
    return decide_review(review, parts, proven=proven)
