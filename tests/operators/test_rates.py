"""Rows of the cluster as the API takes them."""

from __future__ import annotations

from typing import Any

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate_operators.kinds import Custom
from joulegate_operators.rates import SHAPES

INTENSITY, PRICE, SITE = SHAPES
REFERENCE = {"dataset": "d", "version": "1", "publisher": "p", "licence": "CC-BY-4.0", "source": "s"}
DATES = {"validFrom": "2026-01-01T00:00:00Z", "validTo": "2027-01-01T00:00:00Z"}
DATES_OF_API = {"valid_from": "2026-01-01T00:00:00Z", "valid_to": "2027-01-01T00:00:00Z"}


def custom(*rows: dict[str, Any]) -> Custom:
    return Custom("u", "frankfurt", None, 1, {"reference": REFERENCE, "rows": [DATES | row for row in rows]}, {})


def test_an_intensity_in_grams_becomes_micrograms() -> None:
    what = {"basis": "location", "boundary": "lifecycle", "mix": "consumption", "signal": "average", "gwp": "AR5"}
    rows = INTENSITY.rows(custom(what | {"zone": "DE", "gPerKwh": "363.5"}))
    assert rows == [what | DATES_OF_API | {"zone": "DE", "ug_per_kwh": 363_500_000, "reference": REFERENCE}]


def test_a_price_in_a_currency_becomes_micros() -> None:
    row = {"rule": "gpu_hours", "currency": "EUR", "gpuModel": "H100", "amount": "2.10"}
    assert PRICE.rows(custom(row)) == [
        DATES_OF_API
        | {"rule": "gpu_hours", "currency": "EUR", "gpu_model": "H100", "micros_per_unit": 2_100_000}
        | {"reference": REFERENCE}
    ]


def test_a_site_is_called_as_its_object() -> None:
    (row,) = SITE.rows(custom({"zone": "DE", "pue": "1.25", "pueCategory": "measured"}))
    assert (row["name"], row["pue_ppm"], row["pue_category"]) == ("frankfurt", 1_250_000, "measured")


def test_what_is_not_a_whole_base_unit_is_named_with_its_place() -> None:
    good = {"zone": "DE", "pue": "1.25", "pueCategory": "measured"}
    with pytest.raises(InvalidInputError, match=r"spec\.rows\[1\]\.pue"):
        SITE.rows(custom(good, good | {"pue": "1.2500001"}))


def test_water_ownership_and_hours_come_with_their_units() -> None:
    (row,) = SITE.rows(
        custom({"zone": "DE", "pue": "1.2", "pueCategory": "2", "ownership": "colo", "wueLPerKwh": "1.8"})
    )
    assert (row["wue_ul_per_kwh"], row["ownership"]) == (1_800_000, "colo")
    (row,) = PRICE.rows(
        custom({"rule": "gpu_hours", "currency": "EUR", "amount": "1", "fromHour": 22, "toHour": 6, "timezone": "UTC"})
    )
    assert (row["from_hour"], row["to_hour"], row["timezone"]) == (22, 6, "UTC")
