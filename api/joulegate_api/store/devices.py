"""Devices that are expected to be measured, and whose meter answers for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, insert, select, update

from joulegate.core.encoding import encode
from joulegate.core.errors import ConflictError, InvalidInputError
from joulegate.core.log import EntryType
from joulegate.core.periods import format_instant
from joulegate_api.store.database import Database
from joulegate_api.store.entries import Writer
from joulegate_api.store.meter_tables import devices, meters, windows

MOVED: Final = timedelta(minutes=30)
"""A device that its node has not reported for so long may be enrolled on another; windows come every quarter-hour."""


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator of a node, from ``enrolled_at`` until ``retired_at`` (None: still there)."""

    cluster: str
    node: str
    uuid: str
    model: str
    enforced_limit_mw: int | None
    enrolled_at: datetime
    retired_at: datetime | None = None


class Devices:
    """The devices of a tenant."""

    def __init__(self, database: Database, writer: Writer, tenant: str) -> None:
        """Keep the devices of one tenant."""
        self._database = database
        self._writer = writer
        self._tenant = tenant

    def enroll(self, device: Device) -> bool:
        """Keep a device; True where it is new.

        Raises :class:`ConflictError` where it is known otherwise, or another node still reports it: no meter takes a
        device away from the node that has it.
        """
        with self._writer.transaction() as transaction:
            newest = latest(transaction.connection, self._tenant, device.uuid)
            if newest is not None and newest.enrolled_at == device.enrolled_at:
                if (newest.cluster, newest.node, newest.model) != (device.cluster, device.node, device.model):
                    raise ConflictError(f"device {device.uuid} was enrolled otherwise at that instant")
                return False
            self._check_free(transaction.connection, device, newest)
            row = {name: getattr(device, name) for name in Device.__slots__}
            transaction.connection.execute(insert(devices).values(tenant=self._tenant, **row))
            fact_id = f"{device.uuid}/{format_instant(device.enrolled_at)}"
            transaction.log(EntryType.DEVICE, fact_id, transaction.now(), {"enrolled": encode(device)})
        return True

    def _check_free(self, connection: Connection, device: Device, newest: Device | None) -> None:
        """Refuse a device that another node has and reports."""
        if newest is None or newest.retired_at is not None:
            return
        if (newest.cluster, newest.node) == (device.cluster, device.node):
            return
        of = windows.c
        since = max(newest.enrolled_at, device.enrolled_at - MOVED)
        query = select(of.end).where(of.tenant == self._tenant, of.device_uuid == device.uuid, of.end > since).limit(1)
        if newest.enrolled_at > device.enrolled_at - MOVED or connection.execute(query).first() is not None:
            raise ConflictError(f"device {device.uuid} is on node {newest.node}, which has not retired it")

    def retire(self, place: tuple[str, str], uuid: str, retired_at: datetime) -> bool:
        """The device is expected no longer on this cluster's node; True where that is new.

        Raises :class:`ConflictError` where that node does not have it: its meter goes on with what it has to send.
        """
        with self._writer.transaction() as transaction:
            newest = latest(transaction.connection, self._tenant, uuid)
            if newest is None or (newest.cluster, newest.node) != place:
                raise ConflictError(f"device {uuid} was never enrolled on this node, or is on another by now")
            if newest.retired_at is not None:
                return False
            if retired_at < newest.enrolled_at:
                raise InvalidInputError("lies before the device was enrolled", "retired_at")
            of = devices.c
            transaction.connection.execute(
                update(devices)
                .where(of.tenant == self._tenant, of.uuid == uuid, of.enrolled_at == newest.enrolled_at)
                .values(retired_at=retired_at)
            )
            body = {"retired": uuid, "retired_at": format_instant(retired_at)}
            transaction.log(EntryType.DEVICE, f"{uuid}/{format_instant(retired_at)}", transaction.now(), body)
        return True

    def list(self) -> tuple[Device, ...]:
        """Every device, those of long ago too."""
        query = select(devices).where(devices.c.tenant == self._tenant).order_by(devices.c.uuid, devices.c.enrolled_at)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(Device(**{name: getattr(row, name) for name in Device.__slots__}) for row in rows)


def latest(connection: Connection, tenant: str, uuid: str) -> Device | None:
    """The newest enrolment of a device."""
    of = devices.c
    query = select(devices).where(of.tenant == tenant, of.uuid == uuid).order_by(of.enrolled_at.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Device(**{name: getattr(row, name) for name in Device.__slots__})


def is_metered(connection: Connection, tenant: str, cluster: str) -> bool:
    """Whether a node meter ever reported for the cluster: then only its windows charge."""
    query = select(meters.c.incarnation).where(meters.c.tenant == tenant, meters.c.cluster == cluster).limit(1)
    return connection.execute(query).first() is not None
