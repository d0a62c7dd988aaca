"""What is known of sensors."""

from fractions import Fraction

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate.core.sensors import (
    SENSORS,
    WIDEST,
    Calibration,
    parse_calibration,
    parse_calibrations,
    sensor_named,
    sensor_of_model,
)


def test_every_sensor_says_where_it_was_measured() -> None:
    assert all(sensor.source and sensor.window_ns > 0 and sensor.period_ns > 0 for sensor in SENSORS.values())


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100-instant"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA H200", "h100-instant"),
        ("NVIDIA GeForce RTX 3090", "ampere-instant"),
        ("NVIDIA A10", "ampere-instant"),
        ("NVIDIA A10G", "ampere-instant"),
        ("NVIDIA RTX A6000", "ampere-instant"),
        ("NVIDIA GeForce RTX 4090", "ada-instant"),
        ("NVIDIA L4", "ada-instant"),
        ("NVIDIA L40S", "ada-instant"),
        ("Tesla V100-SXM2-16GB", "volta"),
        ("Tesla T4", "turing"),
        ("Quadro RTX 8000", "quadro-rtx-8000"),
        ("Tesla P100-PCIE-16GB", "pascal"),
    ],
)
def test_a_board_is_known_by_the_name_that_nvml_gives(model: str, name: str) -> None:
    assert sensor_of_model(model) == (SENSORS[name], True)


@pytest.mark.parametrize("model", ["NVIDIA B200", "", "NVIDIA Rubin", "GRID XA100Y"])
def test_a_board_that_is_not_known_gets_the_widest(model: str) -> None:
    assert sensor_of_model(model) == (WIDEST, False)
    assert min(SENSORS.values(), key=lambda sensor: sensor.seen).seen == WIDEST.seen


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"'a1000'.*a100.*volta"):
        sensor_named("a1000")


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "1;2", "nan,0", "inf,0", "0,0", "-1,0", "3,0", "1/0,0"])
def test_a_calibration_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_calibration(text)


def test_a_calibration_is_exact() -> None:
    assert parse_calibration("0.954,-1180") == Calibration(Fraction(954, 1000), Fraction(-1180))


def test_the_true_energy_is_what_the_sensor_shows_less_offset_over_gain() -> None:
    calibration = Calibration(Fraction(95, 100), Fraction(2000))
    assert calibration.true_energy(287_000, 1_000_000_000, 1) == 300_000
    assert calibration.shown_energy(300_000, 1_000_000_000, 1) == 287_000


HEAD = "uuid,gain,offset_mw,by,on\n"


def test_a_calibration_is_of_one_board_and_says_by_whom_and_when() -> None:
    found = parse_calibrations(f"# lab\n{HEAD}\nGPU-1,0.954,-1180,power lab,2026-11-23\n", "c.csv")
    assert found == {"GPU-1": Calibration(Fraction(954, 1000), Fraction(-1180), "power lab", "2026-11-23")}
    assert parse_calibrations("", "c.csv") == {}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("GPU-1,1,0,me,2026-11-23\n", "c.csv:1"),
        (f"{HEAD}GPU-1,1,0,,2026-11-23\n", "c.csv:2"),
        (f"{HEAD}GPU-1,9,0,me,2026-11-23\n", "c.csv:2"),
        (f"{HEAD}GPU-1,1,0,me,yesterday\n", "c.csv:2"),
        (f"{HEAD}GPU-1,1,0,me,2026-11-23\nGPU-1,1,0,me,2026-11-23\n", "c.csv:3"),
    ],
)
def test_a_file_of_calibrations_that_makes_no_sense_is_named_by_its_line(text: str, place: str) -> None:
    with pytest.raises(InvalidInputError, match=place):
        parse_calibrations(text, "c.csv")
