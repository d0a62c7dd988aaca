"""Tells the API which devices this node has, from when to when, so that missing hours can be seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joulegate.core.errors import UnavailableError
from joulegate.core.periods import format_instant, parse_instant
from joulegate.gpu import Device
from joulegate.home import make_private, read_private, write_private
from joulegate.windows import EnrolmentBody
from joulegate_operators.node.shipping import Shipper

ABSENCE: Final = timedelta(hours=1)
"""A device that was not listed for longer is retired, from when it was last listed."""


class Inventory:
    """The devices that were told of, on the disk; each is told once, and again where its limit changed."""

    def __init__(self, cluster: str, node: str, folder: Path, shipper: Shipper) -> None:
        """Read what was told before; a file that cannot be read is begun anew, since telling twice changes nothing."""
        self._cluster = cluster
        self._node = node
        self._path = folder / "inventory.json"
        self._shipper = shipper
        self._rows: dict[str, dict[str, Any]] = {}
        with suppress(UnavailableError, ValueError):
            self._rows = json.loads(read_private(self._path) or "{}")
        for uuid in self._rows:
            self._tell(uuid)

    def see(self, devices: Sequence[Device], now: datetime) -> None:
        """Take the devices as they are listed now."""
        before = json.dumps(self._rows, sort_keys=True)
        listed = {device.uuid: device for device in devices}
        for uuid, device in listed.items():
            row = self._rows.get(uuid)
            if row is None or row["limit_mw"] != device.enforced_limit_mw:
                self._rows[uuid] = {
                    "model": device.model,
                    "limit_mw": device.enforced_limit_mw,
                    "at": format_instant(now),
                    "seen": format_instant(now),
                }
                self._tell(uuid)
            elif now - parse_instant(row["seen"], "seen") > ABSENCE / 4:
                row["seen"] = format_instant(now)
        for uuid in [uuid for uuid in self._rows if uuid not in listed]:
            seen = parse_instant(self._rows[uuid]["seen"], "seen")
            if now - seen > ABSENCE:
                self._tell(uuid, retired_at=seen)
                del self._rows[uuid]
        if json.dumps(self._rows, sort_keys=True) != before:
            self._keep()

    def _tell(self, uuid: str, retired_at: datetime | None = None) -> None:
        row = self._rows[uuid]
        enrolled_at = None if retired_at else parse_instant(row["at"], "at")
        self._shipper.enrol(
            EnrolmentBody(self._cluster, self._node, uuid, row["model"], row["limit_mw"], enrolled_at, retired_at)
        )

    def _keep(self) -> None:
        with suppress(UnavailableError):  # told again after the next start, which changes nothing
            write_private(make_private(self._path.parent) / self._path.name, json.dumps(self._rows).encode())
