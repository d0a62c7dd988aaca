"""BudgetExceptions of the cluster to the API: asked for as they stand, approved once their object says by whom.

Who asks and who approves is proved by the cluster: a ValidatingAdmissionPolicy of the
chart lets nobody write another's name, so the operator may repeat both.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime
from hashlib import sha256
from typing import Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.errors import InvalidInputError
from joulegate.core.exceptions import KIND, exception_from_object, exception_to_object
from joulegate.core.objects import API_VERSION
from joulegate.core.periods import parse_instant
from joulegate_operators.conditions import dated, ready
from joulegate_operators.kinds import Custom, Kind
from joulegate_operators.kube import Json

_DIGEST: Final = 12


class Exceptions:
    """Brings the API every BudgetException that has not run out, and tells each object where it stands."""

    def __init__(self, kube: client.ApiClient, changed: threading.Event) -> None:
        """Know the cluster's BudgetExceptions from now on."""
        self._kind = Kind(kube, KIND, "budgetexceptions", changed)
        self.informers = (self._kind.informer,)

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass; a request or an approval that is known there already changes nothing.

        Raises :class:`UnavailableError`, :class:`ApiError` and :class:`KubeError`.
        """
        for source in (self._kind.all() or {}).values():
            conditions = dated([brought(api, source, now)], source.generation, source.status, now)
            self._kind.write(source, {"observedGeneration": source.generation, "conditions": conditions})


def brought(api: Client, source: Custom, now: datetime) -> Json:
    """Bring one exception to the API; returns the condition that says how it went."""
    told = source.status.get("conditions") or []
    done = {each["reason"] for each in told if each.get("observedGeneration") == source.generation}
    if _ended(source, now):
        return ready("False", "Expired", "what was used of it stays")
    if "Approved" in done:
        return ready("True", "Approved", _approved(source))
    try:
        asked, approver = request_of(source)
        known = api.post("/v1/exceptions", asked)
        if approver is None:
            return ready("False", "AwaitingApproval", "somebody else than who asks sets spec.approvedBy")
        api.post(f"/v1/exceptions/{known['status']['id']}/approval", {"approved_by": approver})
    except InvalidInputError as error:
        return ready("False", "Invalid", str(error))
    except ApiError as error:
        if not error.refuses_content:
            raise
        return ready("False", "Refused", error.detail)
    return ready("True", "Approved", _approved(source))


def request_of(source: Custom) -> tuple[Json, str | None]:
    """What the API is asked, and who approved it; raises :class:`InvalidInputError`.

    The id is the object's uid with a digest of what it asks for: until it is approved
    an object may change, and what was asked for before is another request.
    """
    spec = {key: value for key, value in source.spec.items() if value != ""}
    approver = spec.pop("approvedBy", None)
    digest = sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:_DIGEST]
    metadata = {"name": source.name, "namespace": source.namespace, "uid": f"{source.uid}-{digest}"}
    asked = exception_from_object({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
    return exception_to_object(asked), approver


def _ended(source: Custom, now: datetime) -> bool:
    try:
        return parse_instant(source.spec.get("expiresAt"), "spec.expiresAt") <= now
    except InvalidInputError:
        return False  # said by the request


def _approved(source: Custom) -> str:
    return f"by {source.spec['approvedBy']}, until {source.spec['expiresAt']}"
