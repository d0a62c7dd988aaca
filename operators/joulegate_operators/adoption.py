"""Tells the API that the operator is there, and since when everything that lives has been told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from joulegate.client import Client
from joulegate.core.periods import format_instant
from joulegate_operators.informer import Informer
from joulegate_operators.settings import Settings
from joulegate_operators.workloads import Workloads


class Adoption:
    """Before budgets are brought and after workloads were told: a new budget enforces once its scope is adopted."""

    informers: Sequence[Informer[Any]] = ()

    def __init__(self, settings: Settings, workloads: Workloads) -> None:
        """Speak for what ``workloads`` has told."""
        self._cluster = settings.cluster
        self._workloads = workloads

    def reconcile(self, api: Client, now: datetime) -> None:  # noqa: ARG002 -- every reconciler is given it
        """One word; while a budget waits, every kind is listed again in each pass. Raises as the client does."""
        since = self._workloads.told_since
        body = {"told_since": None if since is None else format_instant(since)}
        self._workloads.hurried = bool(api.put(f"/v1/adoptions/{self._cluster}", body)["adopting"])
