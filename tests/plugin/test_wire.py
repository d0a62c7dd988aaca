"""Bodies on the wire: what leaves is read back equal, and quantities are never numbers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from joulegate.core.metering import Boundary, Method, Uncertainty
from joulegate.core.records import (
    CrossCheck,
    DeviceUse,
    EfficiencyRecord,
    HostEnergy,
    Interval,
    Kind,
    Measuring,
    Opinion,
    Quality,
    Run,
    RunOutcome,
    Source,
    WorkDone,
)
from joulegate.core.sensors import Calibration
from joulegate.core.units import Energy
from joulegate.schema import FACT_MAX_MJ, JSON_WHOLE_MAX
from joulegate.wire import RecordBody, record_body, record_of, to_json

READER = TypeAdapter(RecordBody)
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

energies = st.none() | st.builds(Energy, st.integers(0, FACT_MAX_MJ))
words = st.text("abcxyz-é漢", min_size=1, max_size=20)
ids = st.text("abcXYZ019", min_size=1, max_size=40)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- the zone is given beside
uncertainties = st.none() | st.builds(
    Uncertainty,
    *[st.integers(0, FACT_MAX_MJ)] * 2,
    st.just("0.95"),
    *[st.integers(0, FACT_MAX_MJ)] * 4,
)
intervals = st.builds(
    Interval,
    start=instants,
    end=instants,
    energy=energies,
    method=st.sampled_from(Method),
    boundary=st.sampled_from(Boundary),
    coverage=st.floats(0, 1),
    uncertainty=uncertainties,
    flags=st.lists(words, max_size=3).map(tuple),
)
lengths = st.integers(0, 10**18)
calibrations = st.builds(
    Calibration, st.fractions("0.5", 2, max_denominator=10**6), st.fractions(-(10**5), 10**5), words, words
)
records = st.builds(
    EfficiencyRecord,
    record_id=ids,
    run=st.builds(Run, uid=ids, pipeline=st.none() | words, attempt=st.integers(1, 9)),
    kind=st.sampled_from(Kind),
    model=st.none() | words,
    variant=st.none() | words,
    started_at=instants,
    ended_at=instants,
    outcome=st.sampled_from(RunOutcome),
    devices=st.lists(
        st.builds(
            DeviceUse,
            uuid=ids,
            model=words,
            intervals=st.lists(intervals, max_size=3).map(tuple),
            cross_check=st.none() | st.builds(CrossCheck, st.floats(0, 2), lengths),
            calibration=st.none() | calibrations,
        ),
        max_size=2,
    ).map(tuple),
    host=st.builds(HostEnergy, energies, words),
    source=st.sampled_from(Source),
    software=words,
    work=st.lists(
        st.builds(
            WorkDone,
            name=words,
            unit=words,
            amount=st.integers(0, JSON_WHOLE_MAX),
            repeats=st.integers(1, 10**6),
            start=instants,
            end=instants,
            energy=energies,
            uncertainty=uncertainties,
        ),
        max_size=2,
    ).map(tuple),
    quality=st.lists(st.builds(Quality, words, st.floats(allow_nan=False, allow_infinity=False)), max_size=2).map(
        tuple
    ),
    measuring=st.none() | st.builds(Measuring, *[st.integers(0, 10**6)] * 2, *[lengths] * 2),
    opinions=st.lists(st.builds(Opinion, words, energies, energies, lengths, words), max_size=2).map(tuple),
)


@given(records)
def test_a_record_that_was_sent_is_read_back_equal(record: EfficiencyRecord) -> None:
    sent = json.dumps(record_body(record), allow_nan=False)
    assert record_of(READER.validate_json(sent)) == record


@given(records)
def test_quantities_leave_as_decimal_strings_and_nothing_else_does(
    record: EfficiencyRecord,
) -> None:
    def check(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                check(key, item)
        elif isinstance(value, list):
            for item in value:
                check(name, item)
        elif name.endswith("_mj"):
            assert value is None or (isinstance(value, str) and str(int(value)) == value)

    check("", record_body(record))


@given(records)
def test_what_came_later_is_left_out_while_it_says_nothing(record: EfficiencyRecord) -> None:
    """So a record that was sent before it existed hashes as it did, and its repeat is known as one."""
    devices = tuple(replace(device, cross_check=None, calibration=None) for device in record.devices)
    body = record_body(replace(record, devices=devices, measuring=None, opinions=()))
    assert {"measuring", "opinions"}.isdisjoint(body)
    for device in body["devices"]:
        assert set(device) == {"uuid", "model", "intervals"}


def body_with(energy: object) -> dict[str, Any]:
    interval = Interval(
        START,
        START + timedelta(minutes=1),
        Energy(5),
        Method.REPLAYED,
        Boundary.ACCELERATOR,
        1.0,
        None,
    )
    record = EfficiencyRecord(
        record_id="r",
        run=Run("u"),
        kind=Kind.TRAINING,
        model=None,
        variant=None,
        started_at=START,
        ended_at=START + timedelta(minutes=1),
        outcome=RunOutcome.SUCCEEDED,
        devices=(DeviceUse("GPU-1", "NVIDIA A100", (interval,)),),
        host=HostEnergy(None, "not_measured"),
        source=Source.REPLAYED,
        software="joulegate",
    )
    body = record_body(record)
    body["devices"][0]["intervals"][0]["energy_mj"] = energy
    return body


@pytest.mark.parametrize("energy", ["0", "12", 12, JSON_WHOLE_MAX // 10**3, str(FACT_MAX_MJ), None])
def test_a_quantity_comes_in_as_a_decimal_string_or_a_whole_number(energy: object) -> None:
    read = READER.validate_json(json.dumps(body_with(energy)))
    assert read.devices[0].intervals[0].energy_mj == (None if energy is None else int(str(energy)))


@pytest.mark.parametrize(
    "energy",
    [
        True,
        1.0,
        1.5,
        "1.0",
        "1e3",
        " 1",
        "+1",
        "01",
        "",
        "\u0661",
        [],
        {},
        -1,
        "-1",
        "0x10",
        "1_000",
        FACT_MAX_MJ + 1,
        str(10**40),
        2**53,
    ],
)
def test_anything_else_is_no_quantity(energy: object) -> None:
    with pytest.raises(ValidationError):
        READER.validate_json(json.dumps(body_with(energy)))


@pytest.mark.parametrize("instant", ["2026-11-23T08:00:00", "2026-11-23T08:00:00+01:00", "2026-13-01T00:00:00Z", 0, ""])
def test_an_instant_is_in_utc_and_says_so(instant: object) -> None:
    with pytest.raises(ValidationError):
        READER.validate_json(json.dumps(body_with("1") | {"started_at": instant}))


@pytest.mark.parametrize("software", ["a\x1b[31mb", "a\nb", "", "x" * 254, None])
def test_text_has_no_control_characters_and_an_end(software: object) -> None:
    with pytest.raises(ValidationError):
        READER.validate_json(json.dumps(body_with("1") | {"software": software}))


def test_unknown_fields_are_refused_at_every_level() -> None:
    body = body_with("1")
    body["host"]["price_micros"] = "1"
    with pytest.raises(ValidationError):
        READER.validate_json(json.dumps(body))


def test_json_of_plain_values_keeps_numbers_that_are_no_quantities() -> None:
    assert to_json({"energy_mj": 5, "ug_per_kwh": 7, "n": 5, "share": 0.5, "at": START, "kinds": (Kind.OTHER,)}) == {
        "energy_mj": "5",
        "ug_per_kwh": "7",
        "n": 5,
        "share": 0.5,
        "at": "2026-11-23T08:00:00Z",
        "kinds": ["other"],
    }
