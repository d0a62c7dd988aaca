"""Golden figures of the formats that machines read; g, kWh, t and MWh differ on purpose, schemas are the official ones.

The golden report: model digits trained with 1 kWh and, in a run that failed, 0.5 kWh; model other inferred with 2 kWh;
PUE 1.54 and 363 g/kWh, so a kWh is 559.02 g; electricity costs 0.1902 EUR/kWh.
"""

import csv
import io
import json
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model import v3_0_1

from joulegate.core.records import Kind
from joulegate_api.reports import FORMATS
from joulegate_api.reports.ai_act import COLUMNS as AI_ACT
from tests.api.reports import reported
from tests.plugin.core.audited import NO_RATES

GOLDEN = reported.golden()


def text(name: str, report: Any = GOLDEN) -> str:
    return FORMATS[name].render(report).decode()


def document(name: str) -> Any:
    return json.loads(text(name))


def table(name: str, report: Any = GOLDEN) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(name, report))))


def consumption(place: int) -> dict[str, Any]:
    considerations = document("cyclonedx")["components"][place]["modelCard"]["considerations"]
    (found,) = considerations["environmentalConsiderations"]["energyConsumptions"]
    return dict(found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (consumption(0)["activity"], "training"),
        (consumption(0)["activityEnergyCost"], {"value": 1.5, "unit": "kWh"}),
        (consumption(0)["co2CostEquivalent"], {"value": 0.00083853, "unit": "tCO2eq"}),
        (consumption(1)["activity"], "inference"),
        (consumption(1)["activityEnergyCost"], {"value": 2.0, "unit": "kWh"}),
        (consumption(1)["co2CostEquivalent"], {"value": 0.00111804, "unit": "tCO2eq"}),
    ],
)
def test_cyclonedx_has_kwh_and_tonnes(found: object, expected: object) -> None:
    assert found == expected


@pytest.mark.parametrize("report", [GOLDEN, reported.whole(), *map(reported.hostile, reported.HOSTILE)], ids=range(14))
def test_cyclonedx_is_valid_by_the_schema_of_1_7(report: Any) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text("cyclonedx", report)) is None


@pytest.mark.parametrize("report", [GOLDEN, reported.plain(), *map(reported.hostile, reported.HOSTILE)], ids=range(14))
def test_spdx_is_read_by_the_classes_of_the_3_0_1_model(report: Any) -> None:
    read = v3_0_1.SHACLObjectSet()
    v3_0_1.JSONLDDeserializer().read(io.BytesIO(FORMATS["spdx"].render(report)), read)
    assert not read.missing_ids
    assert len(list(read.foreach_type(v3_0_1.SpdxDocument))) == 1


def packages() -> list[dict[str, Any]]:
    return [node for node in document("spdx")["@graph"] if node["type"] == "ai_AIPackage"]


def described(place: int, field: str) -> dict[str, str]:
    (found,) = packages()[place]["ai_energyConsumption"][field]
    return dict(found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (packages()[0]["name"], "digits"),
        (described(0, "ai_trainingEnergyConsumption")["ai_energyQuantity"], "1.5"),
        (described(0, "ai_trainingEnergyConsumption")["ai_energyUnit"], "kilowattHour"),
        (described(1, "ai_inferenceEnergyConsumption")["ai_energyQuantity"], "2"),
        (described(1, "ai_inferenceEnergyConsumption")["ai_energyUnit"], "kilowattHour"),
    ],
)
def test_spdx_has_kilowatt_hours_as_decimal_strings(found: str, expected: str) -> None:
    assert found == expected


def test_a_model_card_has_grams_of_training_with_the_failed_run() -> None:
    (card,) = list(yaml.safe_load_all(text("huggingface")))
    told = card["co2_eq_emissions"]
    assert card["model_name"] == "digits"
    assert told["emissions"] == pytest.approx(838.53)
    assert told["training_type"] == "pre-training"
    assert told["geographical_location"] == "DE"
    assert told["hardware_used"] == "NVIDIA A100"
    assert "1 failed or were cancelled" in told["source"]


@pytest.mark.parametrize("name", reported.HOSTILE)
def test_a_hostile_model_is_one_name_in_a_model_card(name: str) -> None:
    (card,) = list(yaml.safe_load_all(text("huggingface", reported.hostile(name))))
    assert card["model_name"] == name
    assert set(card) == {"model_name", "co2_eq_emissions"}


@pytest.mark.parametrize(
    ("item", "value", "unit"),
    [
        ("training: energy", "0.0015", "MWh"),
        ("training: hardware time", "0.0208", "hardware-days"),
        ("training: time, runs added up", "0.0208", "days"),
        ("training: computation", "not measured", "FLOP"),
    ],
)
def test_rows_of_annex_xi_have_mwh_and_days(item: str, value: str, unit: str) -> None:
    (row,) = [row for row in table("ai-act") if row["item"] == item]
    assert (row["model"], row["value"], row["unit"]) == ("digits", value, unit)


def test_rows_of_annex_xi_have_no_inference_and_say_that_they_claim_nothing() -> None:
    rows = table("ai-act")
    assert list(rows[0]) == list(AI_ACT)
    assert {row["model"] for row in rows} == {"", "digits"}
    assert "does not say that anything complies" in rows[0]["value"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("operational_carbon_g",), "1956.57"),
        (("components", 0, "energy_kwh"), "1.5"),
        (("components", 0, "operational_carbon_g"), "838.53"),
        (("components", 0, "persona"), "provider"),
        (("components", 1, "energy_kwh"), "2"),
        (("components", 1, "operational_carbon_g"), "1118.04"),
        (("components", 1, "persona"), "consumer"),
        (("components", 0, "runs_failed_or_cancelled"), 1),
        (("score",), None),
        (("embodied_carbon_g",), None),
    ],
)
def test_sci_has_kwh_and_grams_and_no_score_without_embodied_carbon(path: tuple[Any, ...], expected: object) -> None:
    found = document("sci")
    for step in path:
        found = found[step]
    assert found == expected


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("x_EnergyKwh", ["1", "0.5", "2"]),
        ("x_CarbonLocationG", ["559.02", "279.51", "1118.04"]),
        ("EffectiveCost", ["0.292908", "0.146454", "0.585816"]),
        ("BilledCost", ["0", "0", "0"]),
        ("PricingQuantity", ["0.25", "0.25", "0.25"]),
        ("BillingCurrency", ["EUR", "EUR", "EUR"]),
        ("x_Outcome", ["succeeded", "failed", "succeeded"]),
        ("ChargeClass", ["", "", ""]),
    ],
)
def test_focus_has_kwh_grams_and_money(column: str, values: list[str]) -> None:
    assert [row[column] for row in table("focus")] == values


def test_what_is_not_priced_has_no_figure_and_is_not_zero() -> None:
    report = reported.plain(reported.at_kwh("a", "1", rates=NO_RATES))
    (row,) = table("focus", report)
    assert (row["EffectiveCost"], row["BilledCost"], row["x_CarbonLocationG"], row["x_EnergyKwh"]) == ("", "", "", "1")
    assert json.loads(text("sci", report))["operational_carbon_g"] is None
    assert "co2CostEquivalent" not in text("cyclonedx", report)
    assert "emissions:" not in text("huggingface", report)


@pytest.mark.parametrize("name", ["ai-act", "focus"])
@pytest.mark.parametrize("hostile", reported.HOSTILE[2:5])
def test_no_cell_begins_a_formula(name: str, hostile: str) -> None:
    cells = [cell for row in table(name, reported.hostile(hostile)) for cell in row.values()]
    assert any(cell.startswith("'") for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@")]


@pytest.mark.parametrize(
    ("energy", "grams", "mwh", "kwh", "tonnes"),
    [
        ("1", "559.02", "0.001", "1", 0.00055902),
        ("1000", "559020", "1", "1000", 0.55902),
        ("0.5", "279.51", "0.0005", "0.5", 0.00027951),
        ("2500", "1397550", "2.5", "2500", 1.39755),
        ("0.001", "0.55902", "0.000001", "0.001", 0.00000055902),
    ],
)
def test_the_same_energy_is_grams_tonnes_kwh_and_mwh_as_each_format_asks(
    energy: str, grams: str, mwh: str, kwh: str, tonnes: float
) -> None:
    report = reported.plain(reported.at_kwh("a", energy, kind=Kind.TRAINING))
    card = yaml.safe_load(text("huggingface", report))
    assert card["co2_eq_emissions"]["emissions"] == pytest.approx(float(grams))
    (row,) = [row for row in table("ai-act", report) if row["item"] == "training: energy"]
    assert (row["value"], row["unit"]) == (mwh, "MWh")
    (component,) = json.loads(text("sci", report))["components"]
    assert (component["energy_kwh"], component["operational_carbon_g"]) == (kwh, grams)
    (charge,) = table("focus", report)
    assert (charge["x_EnergyKwh"], charge["x_CarbonLocationG"]) == (kwh, grams)
    assert f'"value": {tonnes}' in text("cyclonedx", report) or f'"value": {tonnes:.14f}' in text("cyclonedx", report)
    assert f'"ai_energyQuantity": "{kwh}"' in text("spdx", report)
