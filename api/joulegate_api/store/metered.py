"""What the node meter's windows say of a pod, to stand beside what the run says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from joulegate.core.records import EfficiencyRecord
from joulegate_api.store.database import Database
from joulegate_api.store.meter_tables import charges, windows


@dataclass(frozen=True, slots=True)
class Metered:
    """The windows of a pod that touch a run: their first and last instant, and the energy that the pod is charged."""

    start: datetime
    end: datetime
    energy_mj: int
    windows: int


class Meterings:
    """Reads windows by pod."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Read those of one tenant."""
        self._database = database
        self._tenant = tenant

    def beside(self, record: EfficiencyRecord) -> Metered | None:
        """The windows of the record's own pod that touch its time; None where there is none.

        A pod of another namespace is nobody's to name: its windows are not shown.
        Windows end at quarter-hours and where holds change, so they may begin before
        the run and end after it.
        """
        if record.run.pod_uid is None:
            return None
        with self._database.read() as connection:
            boards = [str(uuid) for uuid in connection.execute(self._boards(record)).scalars()]
            if not boards:
                return None
            row = connection.execute(self._sums(record, boards)).one()
        if not row.windows:
            return None
        return Metered(row.first, row.last, int(row.energy_mj), row.windows)

    def _boards(self, record: EfficiencyRecord) -> Select[str]:
        of, run = charges.c, record.run
        return (
            select(of.device_uuid)
            .where(of.tenant == self._tenant, of.cluster == run.cluster, of.subject == run.pod_uid)
            .where(of.namespace == run.namespace)
            .distinct()
        )

    def _sums(self, record: EfficiencyRecord, boards: list[str]) -> Select[Any, Any, Any, int]:
        of, run = windows.c, record.run
        return (
            select(
                func.min(of.start).label("first"),
                func.max(of.end).label("last"),
                func.sum(of.active_mj + of.idle_mj).label("energy_mj"),
                func.count().label("windows"),
            )
            .where(of.tenant == self._tenant, of.device_uuid.in_(boards))
            .where(of.end > record.started_at, of.start < record.ended_at)
            .where(of.cluster == run.cluster, of.pod_uid == run.pod_uid)
        )
