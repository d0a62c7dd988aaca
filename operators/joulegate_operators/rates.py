"""GridIntensity, PriceBook and Site of the cluster to the API: rows are added there, never edited."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from kubernetes import client

from joulegate.client import ApiError, Client
from joulegate.core.errors import InvalidInputError
from joulegate.core.units import MICROS, UG_PER_G, UL_PER_L, parse_whole
from joulegate_operators.conditions import dated, ready
from joulegate_operators.kinds import Custom, Kind
from joulegate_operators.kube import Json

_AGAIN: Final = timedelta(minutes=10)
"""Rows that the API took are brought again this often: it may have come back from an older copy of its database."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows of a kind are written in the cluster and how the API takes them.

    ``fields`` gives the API's name for each field of the cluster; ``quantity`` is the field
    that people write with a decimal point, ``base`` the API's units of one, ``more`` such fields that may be absent.
    """

    kind: str
    plural: str
    path: str
    fields: Mapping[str, str]
    quantity: str
    target: str
    base: int
    more: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def rows(self, source: Custom) -> list[Json]:
        """The rows as the API takes them; raises :class:`InvalidInputError` with the place of a wrong one."""
        return [
            {
                **{theirs: row[ours] for ours, theirs in self.fields.items() if ours in row},
                **({"name": source.name} if self.kind == "Site" else {}),
                self.target: parse_whole(row[self.quantity], self.base, f"spec.rows[{index}].{self.quantity}"),
                **{
                    theirs: parse_whole(row[ours], base, f"spec.rows[{index}].{ours}")
                    for ours, (theirs, base) in self.more.items()
                    if ours in row
                },
                "reference": source.spec["reference"],
            }
            for index, row in enumerate(source.spec["rows"])
        ]


_VALIDITY: Final = {"validFrom": "valid_from", "validTo": "valid_to", "zone": "zone"}

SHAPES: Final = (
    Shape(
        "GridIntensity",
        "gridintensities",
        "/v1/factors",
        _VALIDITY
        | {name: name for name in ("basis", "boundary", "mix", "signal", "gwp")}
        | {"dataUntil": "data_until"},
        "gPerKwh",
        "ug_per_kwh",
        UG_PER_G,
    ),
    Shape(
        "PriceBook",
        "pricebooks",
        "/v1/prices",
        _VALIDITY
        | {"rule": "rule", "currency": "currency", "gpuModel": "gpu_model", "ownership": "ownership"}
        | {"fromHour": "from_hour", "toHour": "to_hour", "timezone": "timezone"},
        "amount",
        "micros_per_unit",
        MICROS,
    ),
    Shape(
        "Site",
        "sites",
        "/v1/sites",
        _VALIDITY | {"pueCategory": "pue_category", "ownership": "ownership", "wueCategory": "wue_category"},
        "pue",
        "pue_ppm",
        1_000_000,
        {"wueLPerKwh": ("wue_ul_per_kwh", UL_PER_L)},
    ),
)


class Rates:
    """Brings the API every row that stands in the cluster; what was taken there stays there."""

    def __init__(self, kube: client.ApiClient, changed: threading.Event) -> None:
        """Know the cluster's GridIntensity, PriceBook and Site objects from now on."""
        self._kinds = [Kind(kube, shape.kind, shape.plural, changed) for shape in SHAPES]
        self.informers = [kind.informer for kind in self._kinds]
        self._brought: dict[tuple[str, int], datetime] = {}

    def reconcile(self, api: Client, now: datetime) -> None:
        """One pass: add the rows that the API may lack, write each status that is not so yet.

        A row that is there already changes nothing, so a pass that is done twice costs nothing.
        Raises :class:`UnavailableError`, :class:`ApiError` and :class:`KubeError`.
        """
        for shape, kind in zip(SHAPES, self._kinds, strict=True):
            objects = kind.all()
            for source in () if objects is None else objects.values():
                self._bring(api, shape, kind, source, now)

    def _bring(self, api: Client, shape: Shape, kind: Kind, source: Custom, now: datetime) -> None:
        version = (source.uid, source.generation)
        if version in self._brought and now - self._brought[version] < _AGAIN:
            return
        told = brought(api, shape, source)
        conditions = dated([told], source.generation, source.status, now)
        kind.write(source, {"observedGeneration": source.generation, "conditions": conditions})
        self._brought = {key: at for key, at in self._brought.items() if key[0] != source.uid} | {version: now}


def brought(api: Client, shape: Shape, source: Custom) -> Json:
    """Add the rows of one object to the API; returns the condition that says how it went."""
    try:
        api.put(shape.path, {"rows": shape.rows(source)})
    except InvalidInputError as error:
        return ready("False", "Invalid", str(error))
    except ApiError as error:
        if not error.refuses_content:
            raise
        return ready("False", "Refused", error.detail)
    return ready("True", "Accepted")
