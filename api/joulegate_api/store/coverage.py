"""Which time of a root no meter has answered for: on each node that hosted it, until its last pod there ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, func, select

from joulegate_api.store.holds import Root
from joulegate_api.store.meter_tables import devices, meters, objects, windows
from joulegate_api.store.tables import holds

Span = tuple[datetime, datetime]

_RECENT: Final = timedelta(days=1)
"""A device that was measured this long before a hold began is expected to be measured during it."""


def life_of(connection: Connection, tenant: str, root: Root) -> tuple[datetime, datetime | None]:
    """When the first hold of a root was decided, and when its work ended."""
    of = holds.c
    query = select(func.min(of.decided_at), func.max(of.ended_at)).where(
        of.tenant == tenant, of.cluster == root[0], of.root_uid == root[1]
    )
    begin, end = connection.execute(query).one()
    return begin, end


def uncovered(connection: Connection, tenant: str, root: Root, begin: datetime, end: datetime) -> list[Span]:
    """Stretches of [``begin``, ``end``) that a node with pods of the root has not acknowledged for each of its devices.

    One log of a meter leaves nothing out between its first and its last window; what
    lies between two logs was measured by nobody. A retired device is not waited for.
    """
    of = objects.c
    pods = connection.execute(
        select(of.node, of.ended_at).where(
            of.tenant == tenant, of.cluster == root[0], of.root_uid == root[1], of.node.is_not(None)
        )
    ).all()
    ends: dict[str, datetime] = {}
    for pod in pods:
        ends[pod.node] = max(ends.get(pod.node, begin), min(pod.ended_at or end, end))
    gaps = [gap for node, until in ends.items() for gap in _of_node(connection, tenant, (root[0], node), begin, until)]
    return merged(gaps)


def _of_node(
    connection: Connection, tenant: str, place: tuple[str, str], begin: datetime, end: datetime
) -> Iterable[Span]:
    logs = _logs(connection, tenant, place, begin)
    of = devices.c
    enrolled = connection.execute(
        select(of.uuid, of.enrolled_at, of.retired_at)
        .where(of.tenant == tenant, of.cluster == place[0], of.node == place[1])
        .order_by(of.enrolled_at)
    )
    expected = {uuid: (max(begin, min(start for start, _ in spans)), end) for uuid, spans in logs.items()}
    for row in enrolled:
        since = expected[row.uuid][0] if row.uuid in logs else max(begin, row.enrolled_at)
        expected[row.uuid] = (since, end if row.retired_at is None else min(end, row.retired_at))
    if not expected:
        return [(begin, end)] if begin < end else []
    return [gap for uuid, span in expected.items() for gap in _without(span, logs.get(uuid, []))]


def _logs(connection: Connection, tenant: str, place: tuple[str, str], begin: datetime) -> dict[str, list[Span]]:
    """From when to when each log of the node's meters has acknowledged each device."""
    query = (
        select(windows.c.device_uuid, func.min(windows.c.start).label("since"), func.max(windows.c.end).label("until"))
        .join(meters, and_(meters.c.tenant == windows.c.tenant, meters.c.incarnation == windows.c.incarnation))
        .where(
            windows.c.tenant == tenant,
            meters.c.cluster == place[0],
            meters.c.node == place[1],
            windows.c.window_seq <= meters.c.accepted_seq,
            windows.c.end > begin - _RECENT,
        )
        .group_by(windows.c.device_uuid, windows.c.incarnation)
    )
    found: dict[str, list[Span]] = {}
    for row in connection.execute(query):
        found.setdefault(row.device_uuid, []).append((row.since, row.until))
    return found


def _without(span: Span, covered: Sequence[Span]) -> Iterable[Span]:
    begin, end = span
    for since, until in merged(covered):
        if begin < min(since, end):
            yield begin, min(since, end)
        begin = max(begin, until)
    if begin < end:
        yield begin, end


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches, in order and without overlaps."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found
