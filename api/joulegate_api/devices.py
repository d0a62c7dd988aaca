"""The inventory of devices, as their node's meter tells it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.errors import InvalidInputError, NotPermittedError
from joulegate.windows import EnrolmentBody
from joulegate_api.bodies import Body, Raw
from joulegate_api.context import Caller, Parts, answer, takes
from joulegate_api.store import Device
from joulegate_api.windows import place_of

ENROLMENT: Final = Body(EnrolmentBody)

router = APIRouter(tags=["meters"])


@router.post("/v1/devices", openapi_extra=takes(ENROLMENT.reference))
def post_device(raw: Raw, parts: Parts, caller: Caller) -> JSONResponse:
    """Enrol or retire a device: 201 where that is new, 200 where it was known."""
    body = ENROLMENT.read(raw)
    node, cluster = place_of(caller, parts)
    if (body.cluster, body.node) != (cluster, node):
        raise NotPermittedError(f"{caller.name} speaks for node {node} of cluster {cluster} only")
    if (body.enrolled_at is None) == (body.retired_at is None):
        raise InvalidInputError("exactly one of enrolled_at and retired_at is given", "enrolled_at")
    if body.enrolled_at is None:
        place = (cluster, node)
        fresh = body.retired_at is not None and parts.store.devices.retire(place, body.uuid, body.retired_at)
    else:
        device = Device(cluster, node, body.uuid, body.model, body.enforced_limit_mw, body.enrolled_at)
        fresh = parts.store.devices.enroll(device)
    return answer({"uuid": body.uuid, "repeat": not fresh}, HTTPStatus.CREATED if fresh else HTTPStatus.OK)
