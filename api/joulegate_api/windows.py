"""Windows of energy from node meters: taken from the node that measured them, and from nobody else."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from joulegate.core.errors import InvalidInputError, NotPermittedError
from joulegate.core.metering import Method, Uncertainty
from joulegate.windows import QuarantinedBody, WindowBody, WindowsAnswer, WindowsBody
from joulegate_api.auth import NODE_PREFIX, Principal
from joulegate_api.bodies import Body, RawBatch
from joulegate_api.context import Caller, Context, Parts, answer, takes
from joulegate_api.store import Window, WindowBatch

WINDOWS: Final = Body(WindowsBody)

router = APIRouter(tags=["meters"])


@router.post("/v1/windows", openapi_extra=takes(WINDOWS.reference))
def post_windows(raw: RawBatch, parts: Parts, caller: Caller) -> JSONResponse:
    """Take windows in; the answer says up to where they have come, and which were kept apart."""
    body = WINDOWS.read(raw)
    node, cluster = place_of(caller, parts)
    windows = tuple(_window(window, f"windows.{index}") for index, window in enumerate(body.windows))
    batch = WindowBatch(
        cluster,
        node,
        body.incarnation,
        body.seq,
        windows,
        parts.settings.site,
        enrolled_only=True,
        withheld=body.withheld,
    )
    taken = parts.store.windows.ingest(batch)
    apart = tuple(QuarantinedBody(found.window_seq, found.reason) for found in taken.quarantined)
    return answer(WindowsAnswer(taken.accepted_seq, apart))


def place_of(caller: Principal, parts: Context) -> tuple[str, str]:
    """The node and the cluster that a meter's token is bound to; raises :class:`NotPermittedError`."""
    if not caller.name.startswith(NODE_PREFIX):
        raise NotPermittedError(f"{caller.name} is the meter of no node: its principal is {NODE_PREFIX}NAME")
    named = {grant.cluster for grant in caller.grants} - {None, "*"}
    cluster = named.pop() if len(named) == 1 else parts.settings.cluster
    return caller.name.removeprefix(NODE_PREFIX), cluster or parts.settings.cluster


def _window(body: WindowBody, where: str) -> Window:
    """A window as it is kept. What was not measured has no energy; its method and its coverage say that it is a gap."""
    measured = body.active_mj is not None and body.idle_mj is not None
    if measured == (body.method is Method.NOT_MEASURED):
        raise InvalidInputError("energy is null where it was not measured, and only there", f"{where}.active_mj")
    uncertainty = body.uncertainty
    return Window(
        window_seq=body.window_seq,
        device_uuid=body.device_uuid,
        start=body.start,
        end=body.end,
        energy_start_mj=body.energy_start_mj,
        energy_end_mj=body.energy_end_mj,
        active_mj=body.active_mj or 0,
        idle_mj=body.idle_mj or 0,
        allocated_gpu_ns=body.allocated_gpu_ns,
        pod_uid=body.pod_uid,
        namespace=body.namespace,
        pod=body.pod,
        container=body.container,
        method=body.method,
        boundary=body.boundary,
        coverage=body.coverage,
        uncertainty=None
        if uncertainty is None
        else Uncertainty(**{name: getattr(uncertainty, name) for name in Uncertainty.__slots__}),
        flags=body.flags,
        replaces=body.replaces,
    )
